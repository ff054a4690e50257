import type { Role } from './db.ts';

/** What connections have in common: when all that is prepared became stale, and how often it was found. */
export interface StatementState {
  /** Raised when prepared statements must be forgotten. */
  epoch: number;
  hits: number;
  misses: number;
}

/** Of each scope, on each connection. */
const MAX_PREPARED = 400;

/**
 * The names of what one connection has prepared. Each role has its own: a plan under row level security is made for
 * one role, and PostgreSQL would make it anew whenever the statement comes from another one.
 */
export class PreparedStatements {
  readonly #state: StatementState;
  readonly #scopes = new Map<Role | undefined, Map<string, string>>();
  #doomed: string[] = [];
  #epoch: number;
  #next = 0;

  constructor(state: StatementState) {
    this.#state = state;
    this.#epoch = state.epoch;
  }

  /** Names to give back to the server with the next batch. */
  takeDoomed(): string[] {
    if (this.#epoch !== this.#state.epoch) this.forgetAll();
    if (this.#doomed.length === 0) return NOTHING;
    const doomed = this.#doomed;
    this.#doomed = [];
    return doomed;
  }

  find(scope: Role | undefined, text: string): string | undefined {
    const name = this.#scopes.get(scope)?.get(text);
    if (name === undefined) this.#state.misses++;
    else this.#state.hits++;
    return name;
  }

  /** A name for a statement that is about to be prepared. Forgets the oldest one where there are too many. */
  add(scope: Role | undefined, text: string): string {
    const names = this.#scopes.get(scope) ?? new Map<string, string>();
    this.#scopes.set(scope, names);
    const name = `b${this.#next++}`;
    names.set(text, name);
    if (names.size > MAX_PREPARED) this.forget(scope, names.keys().next().value ?? '');
    return name;
  }

  forget(scope: Role | undefined, text: string): void {
    const names = this.#scopes.get(scope);
    const name = names?.get(text);
    if (name === undefined) return;
    names?.delete(text);
    this.#doomed.push(name);
  }

  forgetAll(): void {
    for (const names of this.#scopes.values()) this.#doomed.push(...names.values());
    this.#scopes.clear();
    this.#epoch = this.#state.epoch;
  }
}

const NOTHING: string[] = [];
