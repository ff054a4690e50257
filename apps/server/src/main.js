// JavaScript, because Node.js strips types with WebAssembly, and V8 does not look at the first of these flags again once
// that has made it think of its memory.
import { enableCompileCache } from 'node:module';
import { setFlagsFromString } from 'node:v8';

// What V8 would do after eight seconds without work: give its memory back, and be slow for as long as it takes to grow.
setFlagsFromString('--gc-memory-reducer-start-delay-ms=300000');
// Of a heap that hardly grows V8 allows so little more that buffers alone would have it search everything all the time.
setFlagsFromString('--heap-growing-percent=200');

// Before anything else is loaded: the second start then finds its modules compiled.
enableCompileCache();
const { run } = await import('./run.ts');
await run(process.env);
