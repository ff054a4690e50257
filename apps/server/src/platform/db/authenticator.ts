import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';
import { Client, type ClientConfig } from 'pg';
import { isDatabaseError } from '#platform/errors.ts';
import { inTurn } from './migrate.ts';

export const AUTHENTICATOR = 'authenticator';
const ITERATIONS = 4096;

/**
 * Makes sure that the login that serves requests exists and has this password. It inherits nothing and is
 * granted exactly the roles it may switch to.
 * @param owner a connection that may create roles
 * @param login how the authenticator is going to connect
 */
export async function ensureAuthenticator(owner: Client, login: ClientConfig & { password: string }): Promise<void> {
  if (await canLogIn(login)) return;
  await inTurn(owner, async () => {
    if (await canLogIn(login)) return;
    const { rowCount } = await owner.query('select from pg_roles where rolname = $1', [AUTHENTICATOR]);
    // The verifier, not the password: statements end up in logs.
    const verifier = owner.escapeLiteral(scramVerifier(login.password));
    await owner.query(`${rowCount ? 'alter' : 'create'} role ${AUTHENTICATOR} login noinherit password ${verifier}`);
    await owner.query(`grant anon, authenticated, project_admin, project_reader to ${AUTHENTICATOR}`);
  });
}

async function canLogIn(login: ClientConfig): Promise<boolean> {
  const client = new Client(login);
  client.on('error', () => {});
  try {
    await client.connect();
    await client.query('set role project_reader'); // the latest that was granted
    return true;
  } catch (error) {
    if (isDatabaseError(error)) return false;
    throw error;
  } finally {
    await client.end().catch(() => {});
  }
}

/** What PostgreSQL stores for a password (https://www.rfc-editor.org/rfc/rfc5803). */
function scramVerifier(password: string): string {
  const salt = randomBytes(16);
  const salted = pbkdf2Sync(password, salt, ITERATIONS, 32, 'sha256');
  const clientKey = createHmac('sha256', salted).update('Client Key').digest();
  const storedKey = createHash('sha256').update(clientKey).digest('base64');
  const serverKey = createHmac('sha256', salted).update('Server Key').digest('base64');
  return `SCRAM-SHA-256$${ITERATIONS}:${salt.toString('base64')}$${storedKey}:${serverKey}`;
}
