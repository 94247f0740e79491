// Node's own HTTP client, on one connection that is kept alive. The job and what is said of it: see job.py.
import http from "node:http";
import { once } from "node:events";
import { readFileSync } from "node:fs";

const told = { work: "echo", size: 0, chunks: 0, json: false, seconds: 0.1, least: 1, measure: "time",
               ...JSON.parse(process.argv.at(-1)) };
const [host, port] = told.address.split(":");
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
const prefix = "/2018-06-01/runtime/invocation/";
const streamed = { "content-type": "application/octet-stream", "lambda-runtime-function-response-mode": "streaming",
                   "transfer-encoding": "chunked",
                   trailer: "lambda-runtime-function-error-type, lambda-runtime-function-error-body" };

const request = (method, path, headers) => http.request({ host, port, agent, method, path: prefix + path, headers });

async function answerTo(asked) {
  const [answer] = await once(asked, "response");
  const pieces = [];
  answer.on("data", (piece) => pieces.push(piece));
  await once(answer, "end");
  return [answer.headers["lambda-runtime-aws-request-id"], pieces];
}

function next() {
  const asked = request("GET", "next", {});
  asked.end();
  return answerTo(asked);
}

async function echo(job) {
  const [id, pieces] = await next();
  let event = Buffer.concat(pieces);
  if (job.json) event = Buffer.from(JSON.stringify(JSON.parse(event.toString())));
  const asked = request("POST", `${id}/response`, { "content-type": "application/json", "content-length": event.length });
  asked.end(event);
  await answerTo(asked);
}

async function stream(job) {
  const [id] = await next();
  const chunk = Buffer.alloc(job.size, "x");
  const asked = request("POST", `${id}/response`, streamed);
  asked.setNoDelay(true);
  // Attended before the end is written: an answer may come early.
  const answer = answerTo(asked);
  const together = job.work === "together";
  for (let n = 0; n < (job.work === "first" ? 1 : job.chunks); n++) {
    // What is written in one turn of the loop leaves together; to send at once is to wait until it was written.
    if (together) asked.write(chunk);
    else await new Promise((written) => asked.write(chunk, written));
  }
  asked.end();
  await answer;
}

const peak = () => Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync("/proc/self/status", "ascii"))[1]) * 1024;
const step = told.work === "echo" ? echo : stream;

async function measured() {
  const small = told.measure === "time" ? told : { ...told, chunks: Math.min(told.chunks, 16) };
  const large = told.size * Math.max(1, told.chunks) >= 100_000;
  // Its compiler wants to have seen the work for a while before it is at its best.
  const until = process.hrtime.bigint() + BigInt(Math.round(4e9 * told.seconds));
  for (let n = 0; n < (large ? 2 : 20) || process.hrtime.bigint() < until; n++) await step(small);
  if (told.measure === "resident") {
    const before = peak();
    await step(told);
    return { peak: peak(), growth: peak() - before };
  }
  const cpu = process.cpuUsage(), start = process.hrtime.bigint();
  let ops = 0, wall;
  do {
    await step(told);
    ops++;
    wall = Number(process.hrtime.bigint() - start) / 1e9;
  } while (wall < told.seconds || ops < told.least);
  const spent = process.cpuUsage(cpu);
  return { ops, wall, cpu: (spent.user + spent.system) / 1e6 };
}

console.log(JSON.stringify(await measured()));
process.exit(0);
