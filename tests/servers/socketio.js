// A real socket.io server, default transports (polling, then an upgrade), on node http.
//   HOST, PORT   where to listen
//   JOURNAL      one line per engine.io request that knew a session this process does not
//   ROUTE=1      session ids end in the slot             COOKIE=1   engine.io sets its cookie, `io`
//   PAGES=close  answers to anything but engine.io end their connection
//   GET /        a page with a socket.io client (for browsers)     GET /ID   `slot pid ID`, as http.js
const http = require('http');
const fs = require('fs');
const { Server } = require('socket.io');

const slot = process.env.FORKFRONT_SLOT ?? '-';
const journal = process.env.JOURNAL ? fs.openSync(process.env.JOURNAL, 'a') : null;

const page = (query) => `<!doctype html><meta charset="utf-8"><title>waiting</title>
<script src="/socket.io/socket.io.js"></script><script>
const socket = io(${query.get('to') ? JSON.stringify(query.get('to')) : ''});
let attempts = 0;
const tell = () => fetch('/told?' + new URLSearchParams({
  page: '${slot}', slot: socket.slot ?? '', attempts, transport: socket.io.engine.transport.name }));
socket.io.engine.on('upgrade', tell);
socket.on('connect_error', () => { attempts += 1; });
socket.io.on('reconnect_attempt', () => { attempts += 1; socket.io.engine.on('upgrade', tell); });
socket.on('hello', (hello) => { socket.slot = hello.slot; tell(); });
</script>`;

const server = http.createServer((request, response) => {
  const url = new URL(request.url, 'http://server');
  if (process.env.PAGES === 'close') response.shouldKeepAlive = false;
  if (url.pathname === '/told') console.log(`told ${url.search}`);
  const html = url.pathname === '/';
  const text = html ? page(url.searchParams) : `${slot} ${process.pid} ${request.url.slice(1)}\n`;
  response.writeHead(200, {
    'Content-Type': html ? 'text/html' : 'text/plain',
    'Content-Length': Buffer.byteLength(text),
  });
  response.end(text);
});

const io = new Server(server, {
  cors: { origin: true, credentials: true },
  cookie: process.env.COOKIE === '1',
});
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
