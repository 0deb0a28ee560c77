// node http: who asks, as node sees it (it asks the kernel when that is wanted). HOST and PORT say where.
const http = require('http');
const server = http.createServer((request, response) => {
  const { remoteAddress, remotePort } = request.socket;
  response.end(`${remoteAddress} ${remotePort}\n`);
});
server.keepAliveTimeout = 30000;
server.listen(Number(process.env.PORT), process.env.HOST);
