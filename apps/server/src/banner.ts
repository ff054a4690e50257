import { credentialsPath } from '#platform/secrets/credentials-file.ts';
import type { Config } from './config.ts';

/** Says where the server is, where its keys are, and how an agent gets to it. */
export function printBanner({ version, apiBaseUrl, dataDir }: Config, warnings: readonly string[]): void {
  const keys = credentialsPath(dataDir);
  console.log(`
  InsForge ${version} is ready: ${apiBaseUrl}

  Keys and admin password   ${keys}
  Connect an agent          . ${keys} && npx -y @insforge/mcp --api_base_url "$INSFORGE_URL" --api_key "$ACCESS_API_KEY"
  Link the CLI              . ${keys} && npx -y @insforge/cli link --api-base-url "$INSFORGE_URL" --api-key "$ACCESS_API_KEY"
`);
  for (const warning of warnings) console.warn(`  Warning: ${warning}\n`);
}
