// node's own cluster in front of http.js: WORKERS workers, POLICY rr (the primary accepts and sends handles) or none
// (the workers share the listening socket).
const cluster = require('node:cluster');

if (cluster.isPrimary) {
  cluster.schedulingPolicy = process.env.POLICY === 'none' ? cluster.SCHED_NONE : cluster.SCHED_RR;
  for (let i = 0; i < Number(process.env.WORKERS); i += 1) cluster.fork();
} else {
  require('./http.js');
}
