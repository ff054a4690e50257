import { StartupError } from '#platform/errors.ts';
import { listen } from '#platform/http/listen.ts';
import { createLog } from '#platform/log.ts';
import { openPlatform } from '#platform/platform.ts';
import { printBanner } from './banner.ts';
import { loadConfig } from './config.ts';

/** How long requests in flight may take to finish after SIGTERM. */
const DRAIN_MS = 10_000;

/** The life of the process: config, platform and features, listen, until a signal ends it. */
export async function run(environment: Readonly<Record<string, string | undefined>>): Promise<void> {
  try {
    const config = loadConfig(environment);
    const log = createLog();
    const opening = openPlatform(config, log);
    opening.catch(() => {}); // buildApp reports it
    // The features are loaded while PostgreSQL starts.
    const { buildApp } = await import('./app.ts').catch(async (error: unknown) => {
      await (await opening).close();
      throw error;
    });
    const app = await buildApp(config, log, opening);
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
}
