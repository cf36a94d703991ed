// How fast the reference library decodes. Arguments: a directory with node_modules, seconds for one measurement.
// Standard input: one JSON object a line, {"texts": [...]}. Answers one line each: {"decodes": n, "seconds": s}.
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { join } from 'node:path';

const [directory, seconds] = process.argv.slice(2);
const { TCString } = createRequire(join(directory, 'package.json'))('@iabtechlabtcf/core');

for await (const line of createInterface({ input: process.stdin })) {
  const { texts } = JSON.parse(line);
  const end = performance.now() + 1000 * Number(seconds);
  const begun = performance.now();
  let decodes = 0;
  let now = begun;
  do {
    for (const text of texts) {
      TCString.decode(text);
    }
    decodes += texts.length;
    now = performance.now();
  } while (now < end);
  console.log(JSON.stringify({ decodes, seconds: (now - begun) / 1000 }));
}
