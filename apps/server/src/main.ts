import { enableCompileCache } from 'node:module';

// Before anything else is loaded: the second start then finds its modules compiled.
enableCompileCache();
const { run } = await import('./run.ts');
await run(process.env);
