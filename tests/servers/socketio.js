// A real socket.io server, default transports (polling, then an upgrade), on node http.
//   HOST, PORT   where to listen
//   JOURNAL      one line per engine.io request that knew a session this process does not
//   ROUTE=1      session ids end in the slot             COOKIE=1   engine.io sets its cookie, `io`
//   TLS=DIR      https, with key.pem and cert.pem of DIR
//   PAGES=close  answers to anything but engine.io end their connection; PAGES=cookie: the page sets slot=page.SLOT
//   GET /        a page with a socket.io client (for browsers)     GET /ID   `slot pid ID`, as http.js
const http = require('http');
const https = require('https');
const fs = require('fs');
const { Server } = require('socket.io');

const slot = process.env.FORKFRONT_SLOT ?? '-';
const journal = process.env.JOURNAL ? fs.openSync(process.env.JOURNAL, 'a') : null;

// Loads a few more things, as pages do: the browser opens several connections and keeps them.
const page = (query) => `<!doctype html><meta charset="utf-8"><title>socket.io</title>
<script src="/socket.io/socket.io.js"></script>
<img src="/1"><img src="/2"><img src="/3"><img src="/4">
<script>addEventListener('load', () => {
  const socket = io(${JSON.stringify(query.get('to') ?? '')} || undefined);
  let failures = 0;
  let slot = '';
  const tell = () => fetch('/told?' + new URLSearchParams({
    load: '${Number(query.get('load'))}', page: '${slot}', slot, failures, transport: socket.io.engine.transport.name }));
  const fail = () => { failures += 1; };
  socket.on('connect', () => socket.io.engine.on('upgrade', tell));
  socket.on('connect_error', fail);
  socket.on('disconnect', fail);
  socket.on('hello', (hello) => { slot = hello.slot; tell(); });
});</script>`;

const answer = (request, response) => {
  const url = new URL(request.url, 'http://server');
  if (url.pathname === '/told') console.log(`told ${url.search}`);
  const html = url.pathname === '/';
  const text = html ? page(url.searchParams) : `${slot} ${process.pid} ${request.url.slice(1)}\n`;
  if (html && process.env.PAGES === 'cookie') response.setHeader('Set-Cookie', `slot=page.${slot}; Path=/; HttpOnly`);
  response.writeHead(200, {
    'Content-Type': html ? 'text/html' : 'text/plain',
    'Content-Length': Buffer.byteLength(text),
  });
  response.end(text);
};
const tls = process.env.TLS;
const read = (file) => fs.readFileSync(`${tls}/${file}`);
const server = tls
  ? https.createServer({ key: read('key.pem'), cert: read('cert.pem') }, answer)
  : http.createServer(answer);

const io = new Server(server, {
  cors: { origin: true, credentials: true },
  cookie: process.env.COOKIE === '1',
});
if (process.env.PAGES === 'close') {
  server.prependListener('request', (request, response) => {
    if (!request.url.includes('EIO=')) response.shouldKeepAlive = false;
  });
}
if (process.env.ROUTE === '1') {
  const { randomUUID } = require('crypto');
  io.engine.generateId = () => `${randomUUID()}.${slot}`;
}
io.engine.on('connection_error', ({ code, req }) => {
  if (journal !== null) fs.writeSync(journal, `unknown ${slot} ${process.pid} ${code} ${req.url}\n`);
});
io.on('connection', (socket) => {
  socket.emit('hello', { slot, pid: process.pid });
  socket.on('say', (text, answer) => answer({ text, slot, pid: process.pid }));
});

process.on('SIGTERM', () => io.close(() => process.exit(0)));
server.listen(Number(process.env.PORT ?? 8080), process.env.HOST);
