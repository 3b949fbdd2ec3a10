import { startTenure } from './server';

/** One server with the sample organisation serves all specs but the setup's. */
export default async function globalSetup(): Promise<() => Promise<void>> {
  const server = await startTenure('demo');
  process.env.TENURE_URL = server.url;
  return server.stop;
}
