// node http: answers `slot pid id` to GET /id, and a few paths that scenarios ask for.
//   HOST, PORT   where to listen        JOURNAL   one line per accepted and answered connection
//   METRICS      a second fixed port    EXTRA     also listens on port 0
//   ON_TERM=close   its own graceful shutdown
const http = require('http');
const fs = require('fs');

const journal = process.env.JOURNAL ? fs.openSync(process.env.JOURNAL, 'a') : null;
const note = (what, peer) => {
  if (journal !== null) fs.writeSync(journal, `${what} ${process.pid} ${peer}\n`);
};
const slot = process.env.FORKFRONT_SLOT ?? '-';
const say = (response, text, headers = {}) =>
  response.writeHead(200, { 'Content-Length': Buffer.byteLength(text), ...headers }).end(text);

const paths = {
  '/slow': (response) => setTimeout(() => say(response, `${slot} ${process.pid} slow\n`), 2000),
  '/spin': (response) => {
    const until = Date.now() + 2000;
    while (Date.now() < until);
    say(response, `${slot} ${process.pid} spin\n`);
  },
  '/exit': (response) => {
    response.on('finish', () => process.exit(0));
    say(response, `${slot} ${process.pid} exit\n`);
  },
  '/print': (response) => {
    const line = 'x'.repeat(1023) + '\n';
    for (let i = 0; i < 1024; i += 1) process.stdout.write(line);
    say(response, `${slot} ${process.pid} print\n`);
  },
  '/relisten': (response) => {
    say(response, `${slot} ${process.pid} relisten\n`, { Connection: 'close' });
    server.close(() => setTimeout(() => server.listen(port, host), 300));
    server.closeIdleConnections();
  },
  '/unlisten': (response) => {
    say(response, `${slot} ${process.pid} unlisten\n`, { Connection: 'close' });
    server.close();
    server.closeIdleConnections();
    setInterval(() => {}, 1000); // lives on without a listener
  },
  '/address': (response, request) =>
    say(response, `${request.socket.remoteAddress} ${server.address().address}\n`),
};

const server = http.createServer((request, response) => {
  const path = paths[request.url];
  if (path) return path(response, request);
  const peer = request.socket.remoteAddress;
  response.on('finish', () => note('answered', peer));
  say(response, `${slot} ${process.pid} ${request.url.slice(1)}\n`);
});
server.on('connection', (socket) => note('accepted', socket.remoteAddress));
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
    server.close(() => process.exit(0));
    server.closeIdleConnections();
  });
}
