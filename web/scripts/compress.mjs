// Writes a .br and a .gz beside each text file of dist, so that the server never compresses while it answers.
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const TEXT = new Set(['.js', '.css', '.html', '.svg', '.json', '.txt', '.map']);
const SMALLEST_WORTH_IT = 256;

/** @param {string} dir @returns {string[]} */
function filesUnder(dir) {
  return readdirSync(dir).flatMap((name) => {
    const path = join(dir, name);
    return statSync(path).isDirectory() ? filesUnder(path) : [path];
  });
}

let before = 0;
let after = 0;
for (const path of filesUnder('dist')) {
  if (!TEXT.has(extname(path))) continue;
  const data = readFileSync(path);
  if (data.length < SMALLEST_WORTH_IT) continue;
  const br = brotliCompressSync(data, {
    params: {
      [constants.BROTLI_PARAM_QUALITY]: 11,
      [constants.BROTLI_PARAM_MODE]: constants.BROTLI_MODE_TEXT,
      [constants.BROTLI_PARAM_SIZE_HINT]: data.length,
    },
  });
  writeFileSync(`${path}.br`, br);
  writeFileSync(`${path}.gz`, gzipSync(data, { level: 9 }));
  before += data.length;
  after += br.length;
}
// Vite empties the folder; the committed marker keeps it in a fresh checkout.
writeFileSync('dist/.keep', '');
console.log(`compressed ${(before / 1000).toFixed(1)} kB to ${(after / 1000).toFixed(1)} kB (brotli)`);
