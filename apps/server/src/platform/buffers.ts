import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Enough to be worth a collection of the young, which takes a fraction of a millisecond. */
const COLLECT_BYTES = 8 * 1024 * 1024;

// Node.js has no API for this; the function is in contexts that are made while the flag is set. On a command line, all
// that start a server would need it, and who forgot it would have half as many downloads without a word. Node.js warns
// of flags that change when V8 runs already, and that they may do nothing: this one is looked at only where a context
// is made, no other thread runs yet, and it is taken back at once, so that neither threads nor libraries find the
// function. Without it V8 collects when it likes.
setFlagsFromString('--expose-gc');
const collect: NodeJS.GCFunction | undefined = runInNewContext('globalThis.gc');
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
  collect?.({ type: 'minor' });
}
