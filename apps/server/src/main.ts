import { enableCompileCache } from 'node:module';
import { setFlagsFromString } from 'node:v8';

// After eight seconds without work V8 gives its memory back, and then needs twice the processor for some seconds of it.
setFlagsFromString('--gc-memory-reducer-start-delay-ms=300000');

// Before anything else is loaded: the second start then finds its modules compiled.
enableCompileCache();
const { run } = await import('./run.ts');
await run(process.env);
