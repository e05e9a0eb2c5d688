// BullMQ as a contender, with the command line of `benches/src/side.rs`. Tuned: as much at once as there are slots.

import { createInterface } from "node:readline";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { Queue, Worker } from "bullmq";

const [PACE, AHEAD, BULK, BULK_BYTES] = [20, 500, 1000, 16 * 1024 * 1024];
const options = Object.fromEntries(
  ["url", "settings", "jobs", "payload", "how", "slots", "results", "lateness"].map((name) => [name, { type: "string" }]),
);
const { values: ask, positionals: [what] } = parseArgs({ options, allowPositionals: true });
const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");
const nowUs = () => Math.round((performance.timeOrigin + performance.now()) * 1000);
const isTuned = ask.settings === "tuned";

// Resolves with the first line; `onEnd` is called with the end of standard input.
function waitForGo(onEnd) {
  return new Promise((resolve) => {
    const lines = createInterface({ input: process.stdin });
    lines.once("line", resolve);
    lines.once("close", onEnd);
    say({ ready: true });
  });
}

function connection() {
  const { hostname: host, port } = new URL(ask.url);
  return { host, port: Number(port), maxRetriesPerRequest: null };
}

async function enqueue() {
  const queue = new Queue("bench", { connection: connection() });
  await queue.waitUntilReady();
  const jobs = Number(ask.jobs);
  const text = "the quick brown fox, 32 bytes up".repeat(Number(ask.payload) / 32 + 1).slice(0, Number(ask.payload));
  const data = (number) => ({ number, text });
  await waitForGo(() => process.exit(0));
  const began = performance.now();
  if (ask.how === "bulk") {
    const batch = Math.max(1, Math.min(BULK, Math.floor(BULK_BYTES / ask.payload)));
    for (let from = 0; from < jobs; from += batch) {
      const size = Math.min(batch, jobs - from);
      await queue.addBulk(Array.from({ length: size }, (_, index) => ({ name: "noop", data: data(from + index) })));
    }
  } else if (ask.how === "single") {
    for (let number = 0; number < jobs; number++) await queue.add("noop", data(number));
  } else if (ask.how === "paced") {
    for (let index = 0; index < jobs; index++) {
      await sleep(Math.max(0, began + index * PACE - performance.now()));
      await queue.add("noop", data(nowUs()));
    }
  } else {
    const first = Date.now() + AHEAD;
    for (let index = 0; index < jobs; index++) {
      const due = first + index * PACE;
      await queue.add("noop", data(due * 1000), { delay: Math.max(0, due - Date.now()) });
    }
  }
  say({ enqueued: jobs, seconds: (performance.now() - began) / 1000 });
}

async function work() {
  let [ran, told, since, at, late] = [0, 0, 0, 0, []];
  const isLateWanted = ask.lateness === "yes";
  await waitForGo(() => process.exit(0));
  setInterval(() => {
    if (ran === told) return;
    told = ran;
    if (late.length) say({ late_us: late.splice(0) });
    say({ ran, since: since / 1e6, at: at / 1e6 });
  }, 10);
  const options = { connection: connection() };
  if (isTuned) options.concurrency = Number(ask.slots);
  options.removeOnComplete = ask.results === "kept" ? { age: 3600 } : { count: 0 };
  const run = async (job) => {
    at = nowUs();
    since ||= at;
    ran += 1;
    if (isLateWanted) late.push(at - job.data.number);
    return job.data.number;
  };
  new Worker("bench", run, options);
}

const fail = (error) => {
  say({ cannot: String(error) });
  process.exit(1);
};
if (what === "version") {
  const { version } = JSON.parse(readFileSync(new URL("node_modules/bullmq/package.json", import.meta.url)));
  console.log(`BullMQ ${version} on Node ${process.versions.node}`);
} else {
  (what === "enqueue" ? enqueue() : work()).catch(fail);
}
