// node https: answers `slot pid servername protocol` as the client asked for them in its ClientHello.
//   HOST, PORT   where to listen        CERTIFICATE   a file with key and certificate
const fs = require('fs');
const https = require('https');

const slot = process.env.FORKFRONT_SLOT ?? '-';
const both = fs.readFileSync(process.env.CERTIFICATE);
const options = { key: both, cert: both, ALPNProtocols: ['http/1.1', 'h2', 'acme-tls/1'] };
const server = https.createServer(options, (request, response) => {
  const { servername, alpnProtocol } = request.socket;
  const text = `${slot} ${process.pid} ${servername || '-'} ${alpnProtocol || '-'}\n`;
  response.writeHead(200, { 'Content-Length': text.length, Connection: 'close' }).end(text);
});
server.listen(Number(process.env.PORT), process.env.HOST);
