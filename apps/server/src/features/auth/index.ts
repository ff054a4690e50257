export { readAuthConfig } from './config.ts';
