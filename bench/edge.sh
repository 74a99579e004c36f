#!/usr/bin/env bash
# The float and the int8 model of a job in ONNX Runtime: one thread, one image at a time, in pairs; and the memory of each,
# beside what Node.js and ONNX Runtime take without a model (on Linux). Usage:
#   bench/edge.sh model.onnx model.int8.onnx [PAIRS]
# It needs Node.js, onnxruntime-node below the working folder or $ONNXRUNTIME (npm install onnxruntime-node), and the two
# files: also on a Raspberry Pi.
set -euo pipefail

[ $# -ge 2 ] && [ $# -le 3 ] || { sed -n '2,6s/^# //p' "$0" >&2; exit 64; }
for file in "$1" "$2"; do [ -f "$file" ] || { echo "edge.sh: $file: no such file" >&2; exit 64; }; done
[[ ${3:-1} =~ ^[1-9][0-9]*$ ]] || { echo "edge.sh: PAIRS is ${3@Q}: it must be a number from 1" >&2; exit 64; }
float=$(realpath "$1") int8=$(realpath "$2")
cd "${ONNXRUNTIME:-.}"
[ -d node_modules/onnxruntime-node ] || { echo "edge.sh: onnxruntime-node is not in $PWD: npm install onnxruntime-node" >&2; exit 64; }

exec node --input-type=module - "$float" "$int8" "${3:-50}" <<'JS'
import { spawnSync } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import os from "node:os";
import { InferenceSession, Tensor, env } from "onnxruntime-node";

const [float, int8, pairs] = process.argv.slice(2);
const options = { intraOpNumThreads: 1, interOpNumThreads: 1, executionMode: "sequential", logSeverityLevel: 3 };
async function load(file, options, { InferenceSession, Tensor }) {
  const session = await InferenceSession.create(file, options);
  const shape = session.inputMetadata[0].shape.map((n) => (typeof n === "number" ? n : 1));
  const data = Float32Array.from({ length: shape.reduce((a, b) => a * b) }, () => 4 * Math.random() - 2);
  return { session, input: { input: new Tensor("float32", data, shape) }, times: [] };
}
const models = [];
for (const file of [float, int8]) models.push(await load(file, options, { InferenceSession, Tensor }));

// MB at most, of a process that does nothing else. Not by getrusage, which counts what the parent had, too.
function memory(file) {
  if (!existsSync("/proc/self/status")) return "";
  const script = `import { readFileSync } from "node:fs";
    import * as ort from "onnxruntime-node";
    const most = () => /VmHWM:\\s*(\\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1] / 1024, before = most();
    const { session, input } = await (${load})(${JSON.stringify(file)}, ${JSON.stringify(options)}, ort);
    for (let i = 0; i < 20; i++) await session.run(input);
    console.log(most() - before);`;
  const child = spawnSync(process.execPath, ["--input-type=module", "-"], { input: script, stdio: ["pipe", "pipe", "inherit"] });
  if (child.status !== 0) process.exit(1);
  return `  memory ${Number(child.stdout).toFixed(0)} MB`;
}

// A burst is long enough for the clock, and short enough that a pair sees the same machine.
const burst = 20;
async function run(model) {
  const times = [];
  for (let i = 0; i < burst; i++) {
    const start = performance.now();
    await model.session.run(model.input);
    times.push(performance.now() - start);
  }
  model.times.push(...times);
  return median(times);
}
const quantile = (values, q) => [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(q * values.length))];
const median = (values) => quantile(values, 0.5);

for (const model of models) await run(model);
for (const model of models) model.times = [];
const ratios = [];
for (let i = 0; i < Number(pairs); i++) {
  const order = i % 2 ? [1, 0] : [0, 1]; // neither is always first
  const ms = [];
  for (const k of order) ms[k] = await run(models[k]);
  ratios.push(ms[0] / ms[1]);
}

console.log(`${os.cpus()[0]?.model || "unknown processor"}, ${process.arch}, ONNX Runtime ${env.versions.node}, Node.js ${process.version}`);
[float, int8].forEach((file, k) => {
  const { times } = models[k];
  const [p50, p95] = [0.5, 0.95].map((q) => quantile(times, q).toFixed(2));
  const size = (statSync(file).size / 1e6).toFixed(2);
  console.log(`${k ? "int8 " : "float"}  p50 ${p50} ms  p95 ${p95} ms  ${size} MB${memory(file)}`);
});
const [low, mid, high] = [0.25, 0.5, 0.75].map((q) => quantile(ratios, q).toFixed(2));
console.log(`int8 is ${mid} times as fast (quartiles ${low} and ${high} of ${ratios.length} pairs)`);
JS
