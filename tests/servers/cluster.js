// The yardstick of scripts/figures: node's own cluster, default scheduling, WORKERS workers.
const cluster = require('cluster');

if (cluster.isPrimary) {
  for (let i = 0; i < Number(process.env.WORKERS ?? 2); i += 1) cluster.fork();
} else {
  require('./http.js');
}
