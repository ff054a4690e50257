/** What is said before a caller's statement: the role it runs as, and who is asking. */
import type { Statement } from './batch.ts';
import type { Claims, Settings } from './db.ts';

/** Who is asking, as settings. */
export const identity = (claims: Claims): Settings => ({
  role: claims.role,
  'request.jwt.claims': toClaimsText(claims),
});

/** The claims as SQL sees them, in `request.jwt.claims`. */
function toClaimsText({ more, ...claims }: Claims): string {
  return JSON.stringify(more ? { ...more, ...claims } : claims);
}

/**
 * One statement that switches to the caller's role and tells SQL who that is, until the transaction ends. The two that
 * nearly all requests need are kept as long as the caller is.
 */
export function prologue(claims: Claims, settings: Settings = {}): Statement {
  const names = Object.keys(settings).filter((name) => name !== 'transaction_isolation');
  const isReadOnly = settings.transaction_read_only === 'on';
  if (names.length > (isReadOnly ? 1 : 0)) return makePrologue(claims, settings, names);
  const known = isReadOnly ? readers : writers;
  const found = known.get(claims);
  if (found) return found;
  const made = makePrologue(claims, settings, names);
  known.set(claims, made);
  return made;
}

const readers = new WeakMap<Claims, Statement>();
const writers = new WeakMap<Claims, Statement>();

function makePrologue(claims: Claims, settings: Settings, names: readonly string[]): Statement {
  let text = `select set_config('role', $1, true), set_config('request.jwt.claims', $2, true)`;
  const values: string[] = [claims.role, toClaimsText(claims)];
  for (const name of names) {
    text += `, set_config($${values.push(name)}, $${values.push(settings[name] ?? '')}, true)`;
  }
  return { text, values };
}

/** Settings alone, until the transaction ends. */
export function setTransaction(settings: Settings): Statement[] {
  return Object.keys(settings).length > 0 ? [setAll(settings, true)] : [];
}

/** The same until the session ends. */
export function setSession(settings: Settings): Statement {
  return setAll(settings, false);
}

function setAll(settings: Settings, isLocal: boolean): Statement {
  const values: string[] = [];
  const calls = Object.entries(settings).map(
    ([name, value]) => `set_config($${values.push(name)}, $${values.push(value)}, ${isLocal})`,
  );
  return { text: `select ${calls.join(', ')}`, values };
}
