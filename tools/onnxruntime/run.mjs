// Runs ONNX models: node run.mjs MODEL INPUT N,C,H,W OUTPUT [MODEL INPUT …]. Inputs and outputs are raw float32 files.
import { readFileSync, writeFileSync } from "node:fs";
import { InferenceSession, Tensor } from "onnxruntime-node";

const args = process.argv.slice(2);
for (let i = 0; i < args.length; i += 4) {
  const [model, input, shape, output] = args.slice(i, i + 4);
  const session = await InferenceSession.create(model, { intraOpNumThreads: 2, logSeverityLevel: 2 });
  const data = new Float32Array(new Uint8Array(readFileSync(input)).buffer);
  const result = await session.run({ input: new Tensor("float32", data, shape.split(",").map(Number)) });
  writeFileSync(output, result.logits.data);
  await session.release();
}
