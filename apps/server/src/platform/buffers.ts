import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Enough to be worth a collection of the young, which takes a fraction of a millisecond. */
const COLLECT_BYTES = 8 * 1024 * 1024;

// The documented way to this function without a flag on every command line that starts a server.
setFlagsFromString('--expose-gc');
const collect: (options: { type: 'minor' }) => void = runInNewContext('gc');
setFlagsFromString('--no-expose-gc');

let passed = 0;

/**
 * To be told of the bytes of short-lived buffers. V8 sees how much memory is behind them, but answers with a search of
 * the whole heap, twenty times a second where large files pass, and lets the memory grow meanwhile. They are among its
 * youngest objects, and searching those alone frees them for next to nothing.
 */
export function countBytes(bytes: number): void {
  passed += bytes;
  if (passed < COLLECT_BYTES) return;
  passed = 0;
  collect({ type: 'minor' });
}
