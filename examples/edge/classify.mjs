// Labels images with an exported model, float or int8; model.json lies beside it.
//
//   npm ci --ignore-scripts
//   node classify.mjs model.int8.onnx cat.jpg dog.png
import { readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { InferenceSession, Tensor } from "onnxruntime-node";
import sharp from "sharp";

// Height×width×channels, from 0 to 255. Where an image must be resized, libvips rounds other than `trainer predict`.
async function pixels(file, card) {
  const { height, width, channels } = card.input;
  const padding = card.dataset.format.includes("MNIST") ? 2 : 0;
  let image = sharp(file).flatten().resize(width - 2 * padding, height - 2 * padding, { fit: "cover", kernel: "linear" });
  image = channels === 1 ? image.toColourspace("b-w") : image.toColourspace("srgb");
  if (padding) {
    const raw = await image.raw().toBuffer({ resolveWithObject: true });
    image = sharp(raw.data, { raw: raw.info }).extend({ top: padding, bottom: padding, left: padding, right: padding, background: "black" });
    image = channels === 1 ? image.toColourspace("b-w") : image;
  }
  return image.raw().toBuffer();
}

async function tensor(file, card, model) {
  const { height, width, channels, mean, std } = card.input;
  const bytes = await pixels(file, card), plane = height * width, x = new Float32Array(channels * plane);
  const normalises = "input" in card.files[model]; // the graph does it
  for (let c = 0; c < channels; c++)
    for (let i = 0; i < plane; i++) {
      const v = bytes[i * channels + c] / 255;
      x[c * plane + i] = normalises ? v : (v - mean[c]) / std[c];
    }
  return new Tensor("float32", x, [1, channels, height, width]);
}

const [model, ...images] = process.argv.slice(2);
if (images.length === 0) {
  console.error("usage: classify.mjs MODEL.onnx IMAGE...");
  process.exit(64);
}
const card = JSON.parse(readFileSync(join(dirname(model), "model.json"), "utf8"));
const session = await InferenceSession.create(model);
for (const image of images) {
  const { logits } = await session.run({ input: await tensor(image, card, basename(model)) });
  const best = logits.data.indexOf(Math.max(...logits.data));
  const sum = logits.data.reduce((sum, v) => sum + Math.exp(v - logits.data[best]), 0);
  console.log(`${image}\t${card.classes[best]}\t${(100 / sum).toFixed(1)} %`);
}
