// Runs quantised models: node quantized.mjs MODEL INPUT N,C,H,W FOLDER [MODEL INPUT …]. FOLDER gets optimized.onnx, the graph that ONNX
// Runtime makes of the model, and every output as a raw file under its name. Sums of products do not
// saturate on any processor, unless $X64_PRECISION is 0: then they do on those with AVX2 but without VNNI.
import { readFileSync, writeFileSync } from "node:fs";
import { InferenceSession, Tensor } from "onnxruntime-node";

const args = process.argv.slice(2);
for (let i = 0; i < args.length; i += 4) {
  const [model, input, shape, folder] = args.slice(i, i + 4);
  const session = await InferenceSession.create(model, {
    intraOpNumThreads: 2,
    logSeverityLevel: 3,
    optimizedModelFilePath: `${folder}/optimized.onnx`,
    extra: { session: { x64quantprecision: process.env.X64_PRECISION ?? "1" } },
  });
  const data = new Float32Array(new Uint8Array(readFileSync(input)).buffer);
  const result = await session.run({ input: new Tensor("float32", data, shape.split(",").map(Number)) });
  for (const [name, tensor] of Object.entries(result)) writeFileSync(`${folder}/${name}`, tensor.data);
  await session.release();
}
