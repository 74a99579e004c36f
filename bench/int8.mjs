// Test images through models in ONNX Runtime: node int8.mjs IDX-FOLDER IMAGES MODEL.onnx… Beside each model lies its model.json.
// Prints a line of JSON a model: how many images are right, and the classes.
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { gunzipSync } from "node:zlib";
import { InferenceSession, Tensor } from "onnxruntime-node";

const [folder, count, ...models] = process.argv.slice(2);
const idx = (name) => gunzipSync(readFileSync(join(folder, `t10k-${name}-ubyte.gz`)));
const pixels = idx("images-idx3").subarray(16), labels = idx("labels-idx1").subarray(8);
const images = Math.min(Number(count), labels.length), batch = 100, side = 28, size = 32, padding = 2;

for (const model of models) {
  const { mean, std } = JSON.parse(readFileSync(join(dirname(model), "model.json"), "utf8")).input;
  const session = await InferenceSession.create(model, { intraOpNumThreads: 1, logSeverityLevel: 3 });
  const classes = [];
  for (let first = 0; first < images; first += batch) {
    const n = Math.min(batch, images - first);
    const x = new Float32Array(n * size * size).fill(-mean[0] / std[0]);
    for (let i = 0; i < n; i++)
      for (let r = 0; r < side; r++)
        for (let c = 0; c < side; c++)
          x[(i * size + r + padding) * size + c + padding] = (pixels[((first + i) * side + r) * side + c] / 255 - mean[0]) / std[0];
    const { logits } = await session.run({ input: new Tensor("float32", x, [n, 1, size, size]) });
    for (let i = 0; i < n; i++) {
      const row = logits.data.subarray(i * 10, (i + 1) * 10);
      classes.push(row.indexOf(Math.max(...row)));
    }
  }
  await session.release();
  console.log(JSON.stringify({ model, images, right: classes.filter((c, i) => c === labels[i]).length, classes: classes.join("") }));
}
