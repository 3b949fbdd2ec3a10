// A program beside Tenure on the same Redis queue. Prints one JSON value a line.
//   node peer.mjs VERSION add    REDIS_URL PREFIX NAME PAYLOAD COUNT   adds jobs, prints their ids
//   node peer.mjs VERSION work   REDIS_URL PREFIX COUNT                works off COUNT jobs, prints each
//   node peer.mjs VERSION job    REDIS_URL PREFIX ID                   prints a job as BullMQ sees it
//   node peer.mjs VERSION counts REDIS_URL PREFIX                      prints how many jobs are in which state
//   node peer.mjs VERSION resume REDIS_URL PREFIX                      lets a paused queue go on
//   node peer.mjs VERSION board  REDIS_URL PREFIX                      serves Bull Board, prints its port
const [version, command, url, prefix, ...rest] = process.argv.slice(2);
const { Queue, Worker } = await import(version === '6' ? 'bullmq' : `bullmq${version}`);
const { hostname, port } = new URL(url);
const connection = { host: hostname, port: Number(port), maxRetriesPerRequest: null };
const name = 'workflow-scheduler';
const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

async function add(queue, [job, payload, count]) {
  const options = { attempts: 4, backoff: { type: 'exponential', delay: 5000 } };
  const one = { name: job, data: JSON.parse(payload), opts: options };
  const jobs = await queue.addBulk(Array.from({ length: Number(count) }, () => one));
  say(jobs.map((j) => j.id));
}

async function work([count]) {
  let left = Number(count);
  let finish;
  const finished = new Promise((resolve) => (finish = resolve));
  const options = { connection, prefix, stalledInterval: 1000, maxStalledCount: 3 };
  const worker = new Worker(name, async (job) => ({ worked: job.name }), options);
  worker.on('error', (e) => process.stderr.write(`${e}\n`));
  worker.on('completed', (job) => {
    say({ id: job.id, name: job.name, data: job.data });
    left -= 1;
    if (left === 0) finish();
  });
  await finished;
  await worker.close();
}

async function show(queue, [id]) {
  const job = await queue.getJob(id);
  say(job ? { ...job.asJSON(), state: await job.getState() } : null);
}

async function board(queue) {
  const { createBullBoard } = await import('@bull-board/api');
  const { BullMQAdapter } = await import('@bull-board/api/bullMQAdapter');
  const { ExpressAdapter } = await import('@bull-board/express');
  const { default: express } = await import('express');
  const server = new ExpressAdapter();
  server.setBasePath('/board');
  createBullBoard({ queues: [new BullMQAdapter(queue)], serverAdapter: server });
  const app = express();
  app.use('/board', server.getRouter());
  const listener = app.listen(0, '127.0.0.1', () => say({ port: listener.address().port }));
  await new Promise(() => {});
}

if (command === 'work') {
  await work(rest);
} else {
  const queue = new Queue(name, { connection, prefix });
  const commands = { add, job: show, board, counts: async () => say(await queue.getJobCounts()), resume: () => queue.resume() };
  await commands[command](queue, rest);
  await queue.close();
}
