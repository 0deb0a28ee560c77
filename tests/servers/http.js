// node http: answers `slot pid id` to GET /id, and a few paths that scenarios ask for.
//   HOST, PORT   where to listen        JOURNAL   one line per accepted connection, request and answer
//   METRICS      a second fixed port    EXTRA     also listens on port 0
//   ON_TERM=close   its own graceful shutdown      LEAK_KIB  memory kept for ever per answer
const http = require('http');
const fs = require('fs');

const journal = process.env.JOURNAL ? fs.openSync(process.env.JOURNAL, 'a') : null;
const note = (what, peer) => {
  if (journal !== null) fs.writeSync(journal, `${what} ${process.pid} ${peer}\n`);
};
const slot = process.env.FORKFRONT_SLOT ?? '-';
let closing = false;
const say = (response, text, headers = {}) => {
  if (closing) response.shouldKeepAlive = false;
  response.writeHead(200, { 'Content-Length': Buffer.byteLength(text), ...headers }).end(text);
};

// By the first word of the path.
const paths = {
  slow: (response, request) =>
    setTimeout(() => say(response, `${slot} ${process.pid} ${request.url.slice(1)}\n`), 2000),
  release: (response) => say(response, `${process.env.RELEASE} ${globalThis.release} ${process.cwd()}\n`),
  generation: (response) => say(response, `${process.env.FORKFRONT_GENERATION}\n`),
  spin: (response) => {
    const until = Date.now() + 2000;
    while (Date.now() < until);
    say(response, `${slot} ${process.pid} spin\n`);
  },
  exit: (response, request) => {
    response.on('finish', () => process.exit(Number(request.url.split('/')[2] ?? 0)));
    say(response, `${slot} ${process.pid} exit\n`);
  },
  print: (response) => {
    const line = 'x'.repeat(1023) + '\n';
    for (let i = 0; i < 1024; i += 1) process.stdout.write(line);
    say(response, `${slot} ${process.pid} print\n`);
  },
  relisten: (response) => {
    say(response, `${slot} ${process.pid} relisten\n`, { Connection: 'close' });
    server.close(() => setTimeout(() => server.listen(port, host), 300));
    server.closeIdleConnections();
  },
  unlisten: (response) => {
    say(response, `${slot} ${process.pid} unlisten\n`, { Connection: 'close' });
    server.close();
    server.closeIdleConnections();
    setInterval(() => {}, 1000); // lives on without a listener
  },
  // Whether it is well: what the last of /sick and /well has said.
  health: (response) => response.writeHead(globalThis.sick ? 503 : 204).end(),
  sick: (response) => say(response, `sick ${(globalThis.sick = true)}\n`),
  well: (response) => say(response, `well ${!(globalThis.sick = false)}\n`),
  address: (response, request) =>
    say(response, `${request.socket.remoteAddress} ${server.address().address}\n`),
};

const leak = Number(process.env.LEAK_KIB ?? 0) * 1024;
const leaked = [];
const server = http.createServer((request, response) => {
  const peer = request.socket.remoteAddress;
  note('asked', peer);
  response.on('finish', () => note('answered', peer));
  if (leak > 0) leaked.push(Buffer.alloc(leak, 1));
  const path = paths[request.url.split('/')[1]];
  if (path) return path(response, request);
  say(response, `${slot} ${process.pid} ${request.url.slice(1)}\n`);
});
server.on('connection', (socket) => note('accepted', socket.remoteAddress));
// As a WebSocket: open for as long as both ends want; what comes is sent back.
server.on('upgrade', (request, socket) => {
  socket.on('error', () => socket.destroy());
  socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n');
  socket.write(`X-Worker: ${slot} ${process.pid}\r\n\r\n`);
  socket.pipe(socket);
});
server.keepAliveTimeout = 30000;

const port = Number(process.env.PORT ?? 8080);
const host = process.env.HOST;
const up = () => console.log(`up ${process.pid}`);
setTimeout(() => server.listen(port, host, up), Number(process.env.BOOT_MS ?? 0));

if (process.env.METRICS) {
  const metrics = http.createServer((_, response) => say(response, `metrics ${process.pid}\n`));
  metrics.on('error', (error) => console.log(`metrics ${error.code}`));
  metrics.listen(Number(process.env.METRICS) + Number(slot), '127.0.0.1');
}
if (process.env.EXTRA) {
  const extra = http.createServer((_, response) => say(response, `extra ${process.pid}\n`));
  extra.listen(0, '127.0.0.1', () => console.log(`extra ${extra.address().port} ${process.pid}`));
}
if (process.env.ON_TERM === 'close') {
  process.on('SIGTERM', () => {
    console.log(`closing ${process.pid}`);
    note('told', '-');
    closing = true;
    server.close(() => process.exit(0));
    server.closeIdleConnections();
  });
}
