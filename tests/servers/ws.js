// Plain WebSockets by the package ws: says hello, then sends back what comes. HOST, PORT: where to listen.
const { WebSocketServer } = require('ws');

const slot = process.env.FORKFRONT_SLOT ?? '-';
const server = new WebSocketServer({ port: Number(process.env.PORT ?? 8080), host: process.env.HOST });
server.on('connection', (socket) => {
  socket.on('error', () => socket.terminate());
  socket.send(`${slot} ${process.pid}`);
  socket.on('message', (message) => socket.send(`${slot} ${process.pid} ${message}`));
});
process.on('SIGTERM', () => {
  for (const socket of server.clients) socket.close(1012, 'restart');
  server.close(() => process.exit(0));
});
