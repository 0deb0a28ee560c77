// A server that speaks first: a line `slot pid peer`, then every byte that comes, back again; ends when the client
// does. HOST and PORT from the environment.
const net = require('net');

const slot = process.env.FORKFRONT_SLOT ?? '-';
const server = net.createServer({ allowHalfOpen: true }, (socket) => {
  socket.on('error', () => socket.destroy());
  socket.write(`${slot} ${process.pid} ${socket.remoteAddress}\n`);
  socket.pipe(socket);
});
server.listen(Number(process.env.PORT), process.env.HOST);
