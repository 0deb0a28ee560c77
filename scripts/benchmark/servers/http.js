// node http: answers `SLOT PID PATH`.
//   HOST, PORT   where to listen      REUSEPORT=1   a listener of its own beside others (node 23.1 and later)
//   SLOW_MS      worker 0 sleeps so long over each request, and does nothing else meanwhile
const cluster = require('node:cluster');
const http = require('node:http');

const own = cluster.isWorker ? String(cluster.worker.id - 1) : '-';
const slot = process.env.FORKFRONT_SLOT ?? process.env.BENCH_INDEX ?? process.env.NODE_APP_INSTANCE ?? own;
const slow = slot === '0' ? Number(process.env.SLOW_MS ?? 0) : 0;
const nobody = new Int32Array(new SharedArrayBuffer(4));

const server = http.createServer((request, response) => {
  if (slow > 0) Atomics.wait(nobody, 0, 0, slow);
  const text = `${slot} ${process.pid} ${request.url.slice(1)}\n`;
  response.writeHead(200, { 'Content-Length': Buffer.byteLength(text) }).end(text);
});
server.keepAliveTimeout = 60000;
server.listen({
  host: process.env.HOST,
  port: Number(process.env.PORT),
  backlog: 4096,
  reusePort: process.env.REUSEPORT === '1',
});
