// Starts the real server on a free port and an empty data directory, and stops it again.
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Running {
  url: string;
  dataDir: string;
  stop: () => Promise<void>;
}

const START_MS = 60_000;

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address();
      const port = typeof address === 'object' && address ? address.port : 0;
      probe.close(() => resolve(port));
    });
  });
}

async function untilAnswers(url: string, child: ChildProcess, output: () => string): Promise<void> {
  const deadline = Date.now() + START_MS;
  while (Date.now() < deadline) {
    if (child.exitCode !== null) throw new Error(`the server ended with ${child.exitCode}:\n${output()}`);
    const answer = await fetch(`${url}/api/setup`).catch(() => null);
    if (answer?.ok) return;
    await new Promise((resolve) => setTimeout(resolve, 150));
  }
  throw new Error(`the server did not answer within ${START_MS} ms:\n${output()}`);
}

function stopper(child: ChildProcess, dataDir: string): () => Promise<void> {
  return async () => {
    if (child.exitCode === null) {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      await ended;
    }
    rmSync(dataDir, { recursive: true, force: true });
  };
}

/** `demo` brings the sample organisation, `serve` an empty server that waits for its setup. */
export async function startTenure(mode: 'demo' | 'serve', env: Record<string, string> = {}): Promise<Running> {
  const binary = process.env.TENURE_BIN;
  if (!binary) throw new Error('TENURE_BIN has to name the tenure binary that is to be tested');
  const port = env.PORT ? Number(env.PORT) : await freePort();
  const dataDir = mkdtempSync(join(tmpdir(), 'tenure-e2e-'));
  const url = `http://127.0.0.1:${port}`;
  const child = spawn(binary, mode === 'demo' ? ['demo', '--data-dir', dataDir] : ['serve'], {
    env: {
      ...process.env,
      APP_ENV: 'development',
      HOST: '127.0.0.1',
      PORT: String(port),
      DATA_DIR: dataDir,
      // The tests sign in more often than people do.
      RATE_LIMIT_SIGN_IN_PER_MIN: '0',
      RATE_LIMIT_ADDRESS_PER_MIN: '0',
      RATE_LIMIT_ACCOUNT_PER_MIN: '0',
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
  await untilAnswers(url, child, () => output.slice(-4000)).catch(async (error: unknown) => {
    await stopper(child, dataDir)();
    throw error;
  });
  return { url, dataDir, stop: stopper(child, dataDir) };
}
