// node http that can fall ill: answers `slot pid id` to GET /id, and
//   /hang     never leaves this request's callback
//   /health   200, or 500 while the file SICK exists (its text, if any: only the slot of that number is sick)
//   LEAK_KIB  keeps so much more memory with each request, LEAK_MOST_KIB in all
const http = require('http');
const fs = require('fs');

const slot = process.env.FORKFRONT_SLOT ?? '-';
const leak = Number(process.env.LEAK_KIB ?? 0) * 1024;
const most = Number(process.env.LEAK_MOST_KIB ?? Infinity) * 1024;
const kept = [];

const isSick = () => {
  try {
    const which = fs.readFileSync(process.env.SICK, 'utf8').trim();
    return which === '' || which === slot;
  } catch {
    return false;
  }
};

const server = http.createServer((request, response) => {
  if (request.url === '/hang') for (;;);
  if (leak > 0 && kept.length * leak < most) kept.push(Buffer.alloc(leak, 1));
  const body = `${slot} ${process.pid} ${request.url.slice(1)}\n`;
  const status = request.url === '/health' && isSick() ? 500 : 200;
  response.writeHead(status, { 'Content-Length': body.length }).end(body);
});
server.listen(Number(process.env.PORT), process.env.HOST);
