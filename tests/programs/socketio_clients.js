// Real socket.io clients, as many as asked, each from an address of its own or all from one. Reads commands from
// stdin, one a line, and answers each with a line of JSON: what every client knows.
//   node socketio_clients.js URL COUNT [JSON of options]
//   options: from    "many" (127.200.x.y, the default) or "one"
//            kept    connections are kept alive and used again, as a browser does
//            uid     each client sends `uid` of its own: "query" or "header"
//            one     each client may try only once
//            more    options for io()
//   commands: settle MS   waits until all are connected and upgraded, or that long; settle MS PID...: and
//                         none of them to one of these processes
//             renewed MS  waits until all have connected a second time, or that long
//             say         each client that is connected says something and waits for the answer
//             again       all disconnect and connect anew
const http = require('http');
const https = require('https');
const readline = require('readline');
const { io } = require('socket.io-client');

const [url, count, words] = process.argv.slice(2);
const options = { from: 'many', kept: false, one: false, more: {}, ...JSON.parse(words ?? '{}') };
const pollingOnly = String(options.more.transports) === 'polling';

function client(number) {
  const localAddress = options.from === 'one' ? undefined : `127.200.${1 + (number >> 7)}.${1 + (number & 127)}`;
  const { Agent } = url.startsWith('https') ? https : http;
  const agent = new Agent({ localAddress, keepAlive: options.kept, maxSockets: 6, rejectUnauthorized: false });
  const again = { reconnection: !options.one, reconnectionDelay: 100, reconnectionDelayMax: 500 };
  const more = { agent, rejectUnauthorized: false, ...again, ...options.more };
  if (options.uid === 'query') more.query = { uid: `user-${number}` };
  if (options.uid === 'header') more.extraHeaders = { 'X-User': `user-${number}` };
  const socket = io(url, { forceNew: true, ...more });
  const state = { socket, slot: null, pid: null, connects: 0, errors: {}, failed: false, said: null };
  const lost = (why) => {
    Object.assign(state, { slot: null, pid: null, failed: true });
    state.errors[why] = (state.errors[why] ?? 0) + 1;
  };
  socket.on('hello', ({ slot, pid }) => Object.assign(state, { slot, pid }));
  socket.on('connect', () => { state.connects += 1; });
  socket.on('connect_error', (error) => lost(error.message));
  socket.on('disconnect', lost);
  return state;
}

const clients = Array.from({ length: Number(count) }, (_, number) => client(number));
const transport = ({ socket }) => socket.io.engine?.transport?.name ?? null;
const settled = (one) => (options.one && one.failed)
  || (one.slot !== null && (pollingOnly || transport(one) === 'websocket'));
const report = () => clients.map((one) => ({
  connected: one.socket.connected && one.slot !== null,
  transport: transport(one),
  slot: one.slot === null ? null : Number(one.slot),
  pid: one.pid,
  connects: one.connects,
  said: one.said,
  errors: one.errors,
}));

async function until(done, limit) {
  const end = Date.now() + limit;
  while (!done() && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 20));
}

const commands = {
  settle: (limit, ...former) => until(
    () => clients.every((one) => settled(one) && !former.includes(`${one.pid}`)), Number(limit)),
  renewed: (limit) => until(() => clients.every(({ connects }) => connects > 1), Number(limit)),
  say: () => Promise.all(clients.map(async (one, number) => {
    one.said = null;
    if (!one.socket.connected) return;
    try {
      const answer = await one.socket.timeout(10000).emitWithAck('say', `${number}`);
      one.said = answer.text === `${number}` && answer.pid === one.pid;
    } catch {
      one.said = false;
    }
  })),
  again: () => {
    for (const { socket } of clients) socket.disconnect();
    for (const { socket } of clients) socket.connect();
  },
};

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [word, ...rest] = line.split(' ');
    await commands[word](...rest);
    console.log(JSON.stringify(report()));
  }
  process.exit(0);
})();
