// BullMQ on a Redis of its own, measured the way benches/queue.rs measures Tenure; prints one line of JSON.
//
//   node bullmq.mjs --fsync everysec|always --dir DIR --jobs N [--latency yes] [--idle SECONDS]
//
// Redis listens on a free loopback port and keeps an append-only file in DIR. `everysec` may lose the
// last second in a power cut, `always` loses nothing that was answered; Tenure is always the latter.

import { spawn, execFileSync } from "node:child_process";
import { createServer } from "node:net";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { setTimeout as sleep } from "node:timers/promises";
import { createRequire } from "node:module";
import { Queue, Worker } from "bullmq";
import { Redis } from "ioredis";

const BULK = 500;
const CONCURRENCY = 64;
const IDLE_SAMPLES = 200;
const LOAD_PER_TICK = 10;
const LOAD_TICK_MS = 10;
const QUEUE = "bench";
// Tenure's rule, in BullMQ's words: four attempts, 1000 completed and 5000 failed jobs are kept.
const OPTIONS = {
  attempts: 4,
  backoff: { type: "exponential", delay: 5000 },
  removeOnComplete: { count: 1000 },
  removeOnFail: { count: 5000 },
};

const { values: args } = parseArgs({
  options: {
    fsync: { type: "string", default: "everysec" },
    dir: { type: "string" },
    jobs: { type: "string", default: "20000" },
    latency: { type: "string", default: "no" },
    idle: { type: "string", default: "0" },
    load: { type: "string", default: "5" },
  },
});
if (!args.dir || !["everysec", "always"].includes(args.fsync)) {
  console.error("usage: node bullmq.mjs --fsync everysec|always --dir DIR [--jobs N] [--latency yes] [--idle SECONDS]");
  process.exit(2);
}

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

async function startRedis(dir) {
  const port = await freePort();
  const child = spawn(
    "redis-server",
    ["--port", `${port}`, "--bind", "127.0.0.1", "--dir", dir, "--appendonly", "yes",
      "--appendfsync", args.fsync, "--save", "", "--maxmemory-policy", "noeviction", "--loglevel", "warning"],
    { stdio: ["ignore", "ignore", "inherit"] },
  );
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const probe = new Redis({ port, host: "127.0.0.1", maxRetriesPerRequest: null, retryStrategy: () => 50 });
  probe.on("error", () => {});
  await Promise.race([
    probe.ping(),
    ended.then((code) => { throw new Error(`redis-server ended with ${code} before it answered`); }),
  ]);
  const info = await probe.info("server");
  return { port, child, ended, probe, version: /redis_version:(\S+)/.exec(info)?.[1] };
}

const connection = (port) => ({ port, host: "127.0.0.1", maxRetriesPerRequest: null });

async function add(queue, jobs) {
  const began = performance.now();
  for (let n = 0; n < jobs; n += BULK) {
    const bulk = [];
    for (let i = n; i < Math.min(n + BULK, jobs); i += 1) bulk.push({ name: "probe", data: { n: i }, opts: OPTIONS });
    await queue.addBulk(bulk);
  }
  return jobs / seconds(began);
}

function work(port, handler) {
  const worker = new Worker(QUEUE, handler, {
    connection: connection(port), concurrency: CONCURRENCY, autorun: false,
  });
  worker.on("error", (e) => { console.error(e.message); });
  return worker;
}

async function workOff(port, jobs) {
  let left = jobs;
  let ready;
  const all = new Promise((resolve) => { ready = resolve; });
  const worker = work(port, async () => {});
  worker.on("completed", () => { left -= 1; if (left === 0) ready(); });
  await worker.waitUntilReady();
  const began = performance.now();
  worker.run().catch((e) => { console.error(e.message); });
  await all;
  const rate = jobs / seconds(began);
  await worker.close();
  return rate;
}

async function latencies(port, queue) {
  const waiting = new Map();
  const worker = work(port, async (job) => {
    const at = performance.now();
    const { began, done } = waiting.get(job.data.n);
    waiting.delete(job.data.n);
    done(at - began);
  });
  await worker.waitUntilReady();
  worker.run().catch((e) => { console.error(e.message); });
  let n = 0;
  const one = () => {
    n += 1;
    const id = n;
    const started = new Promise((done) => { waiting.set(id, { began: performance.now(), done }); });
    queue.add("probe", { n: id }, OPTIONS).catch((e) => { console.error(e.message); process.exit(1); });
    return started;
  };
  const idle = [];
  for (let i = 0; i < IDLE_SAMPLES; i += 1) {
    await sleep(5 + (i % 20));
    idle.push(await one());
  }
  const loaded = [];
  const began = performance.now();
  for (let tick = 0; tick * LOAD_TICK_MS < Number(args.load) * 1000; tick += 1) {
    await sleep(Math.max(0, began + tick * LOAD_TICK_MS - performance.now()));
    for (let i = 0; i < LOAD_PER_TICK; i += 1) loaded.push(one());
  }
  const underLoad = await Promise.all(loaded);
  return { worker, idle, underLoad };
}

function percentile(values, p) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * p) / 100))];
}

const seconds = (began) => (performance.now() - began) / 1000;

function residentMb(pid, field) {
  const found = new RegExp(`${field}:\\s+(\\d+) kB`).exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Number(found[1]) / 1024;
}

const ticksPerSecond = Number(execFileSync("getconf", ["CLK_TCK"], { encoding: "utf8" }));

function cpuSeconds(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

async function idleCpu(pids, duration) {
  const before = pids.map(cpuSeconds).reduce((a, b) => a + b);
  await sleep(duration * 1000);
  const after = pids.map(cpuSeconds).reduce((a, b) => a + b);
  return ((after - before) / duration) * 100;
}

const dir = mkdtempSync(join(args.dir, "redis-"));
const redis = await startRedis(dir);
try {
  const queue = new Queue(QUEUE, { connection: connection(redis.port) });
  await queue.waitUntilReady();
  const jobs = Number(args.jobs);
  const result = {
    bullmq: createRequire(import.meta.url)("bullmq/package.json").version,
    node: process.versions.node,
    redis: redis.version,
    fsync: args.fsync,
    addsPerSecond: await add(queue, jobs),
    jobsPerSecond: await workOff(redis.port, jobs),
  };
  if (args.latency === "yes") {
    const { worker, idle, underLoad } = await latencies(redis.port, queue);
    result.idleP50 = percentile(idle, 50);
    result.idleP99 = percentile(idle, 99);
    result.loadP50 = percentile(underLoad, 50);
    result.loadP99 = percentile(underLoad, 99);
    if (Number(args.idle) > 0) {
      result.idleCpuPercent = await idleCpu([process.pid, redis.child.pid], Number(args.idle));
    }
    await worker.close();
  }
  result.memoryMb = residentMb(process.pid, "VmHWM") + residentMb(redis.child.pid, "VmHWM");
  console.log(JSON.stringify(result));
  await queue.close();
  redis.probe.disconnect();
} finally {
  redis.child.kill("SIGTERM");
  await redis.ended;
  rmSync(dir, { recursive: true, force: true });
}
