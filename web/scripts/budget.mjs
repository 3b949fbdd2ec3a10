// Measures dist against the size budget (gzip) and fails when a figure is over it.
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { extname, join } from 'node:path';
import { gzipSync } from 'node:zlib';

const BUDGET = { entry: 110_000, css: 20_000, firstVisit: 240_000, all: 565_000 };
const DIST = 'dist';

if (!existsSync(join(DIST, 'index.html'))) {
  console.error('dist holds no build; run "npm run build" first');
  process.exit(1);
}

/** @param {string} dir @returns {string[]} */
function filesUnder(dir) {
  return readdirSync(dir).flatMap((name) => {
    const path = join(dir, name);
    return statSync(path).isDirectory() ? filesUnder(path) : [path];
  });
}

/** @param {string} path */
function size(path) {
  const data = readFileSync(path);
  // Fonts are compressed already and travel as they are.
  return extname(path) === '.woff2' ? data.length : gzipSync(data, { level: 9 }).length;
}

/** The files a static import of `path` pulls in, `path` itself included. @param {string} path @param {Set<string>} seen */
function withImports(path, seen = new Set()) {
  if (seen.has(path)) return seen;
  seen.add(path);
  const code = readFileSync(path, 'utf8');
  for (const [, name] of code.matchAll(/(?:from|import)\s*["']\.\/([\w.-]+\.js)["']/g)) {
    withImports(join(DIST, 'assets', String(name)), seen);
  }
  return seen;
}

const total = (/** @type {Iterable<string>} */ paths) => [...paths].reduce((sum, path) => sum + size(path), 0);

const files = filesUnder(DIST).filter((path) => !/\.(br|gz)$|\.keep$/.test(path));
const html = readFileSync(join(DIST, 'index.html'), 'utf8');
const linked = [...html.matchAll(/(?:src|href)="\/(assets\/[^"]+)"/g)].map(([, name]) => join(DIST, String(name)));
const entry = new Set();
for (const path of linked.filter((name) => name.endsWith('.js'))) withImports(path, entry);
const css = files.filter((path) => path.endsWith('.css'));
const chunks = files.filter((path) => path.endsWith('.js') && !entry.has(path) && path.includes('assets'));
const largestPage = chunks
  .map((path) => total([...withImports(path)].filter((name) => !entry.has(name))))
  .reduce((most, one) => Math.max(most, one), 0);
// The first visit: the shell, every style, the Latin cuts of both fonts, and the heaviest page.
const latin = files.filter((path) => /latin-wght-normal[\w.-]*\.woff2$/.test(path) && !/latin-ext/.test(path));
const small = files.filter((path) => ['index.html', 'theme.js', 'favicon.svg'].some((name) => path.endsWith(name)));

const figures = {
  entry: total(entry),
  css: total(css),
  firstVisit: total(entry) + total(css) + total(latin) + total(small) + largestPage,
  all: total(files),
};
const names = { entry: 'entry JS', css: 'CSS', firstVisit: 'first visit', all: 'all files' };

let over = false;
for (const key of /** @type {(keyof typeof BUDGET)[]} */ (Object.keys(BUDGET))) {
  const bad = figures[key] > BUDGET[key];
  over ||= bad;
  const kb = (/** @type {number} */ n) => `${(n / 1000).toFixed(1)} kB`.padStart(9);
  console.log(`${names[key].padEnd(12)} ${kb(figures[key])} of ${kb(BUDGET[key])}${bad ? '  OVER' : ''}`);
}
process.exit(over ? 1 : 0);
