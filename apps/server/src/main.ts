import { StartupError } from '#platform/errors.ts';
import { listen } from '#platform/http/listen.ts';
import { createLog } from '#platform/log.ts';
import { buildApp } from './app.ts';
import { printBanner } from './banner.ts';
import { loadConfig } from './config.ts';

/** How long requests in flight may take to finish after SIGTERM. */
const DRAIN_MS = 10_000;

try {
  const config = loadConfig(process.env);
  const app = await buildApp(config, createLog());
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => {
      setTimeout(() => app.server.closeAllConnections(), DRAIN_MS).unref();
      void app.close();
    });
  }
  await listen(app, config);
  printBanner(config, app.warnings);
} catch (error) {
  process.exitCode = 1;
  console.error(error instanceof StartupError ? `InsForge did not start. ${error.message}` : error);
}
