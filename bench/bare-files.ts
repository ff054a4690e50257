/**
 * The ceiling: a bare Fastify handler that streams bytes to and from the disk, without keys, policies, rows, hashes or
 * limits. Uploads are on disk when they are answered only where FLUSH is set; else a power failure loses them. Where
 * DATABASE is set, a row says of each that it is there, in the least that PostgreSQL can be asked for.
 */
import { createReadStream, createWriteStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { fastify } from 'fastify';
import { Pool } from 'pg';

const folder = process.env.FOLDER ?? '';
const flush = process.env.FLUSH === 'true';
const pool = process.env.DATABASE ? new Pool({ ...JSON.parse(process.env.DATABASE), max: 20 }) : undefined;
const INSERT = 'insert into bare_files values ($1) on conflict (name) do update set written_at = now()';
const app = fastify({ bodyLimit: Number.MAX_SAFE_INTEGER });
app.removeAllContentTypeParsers();
app.addContentTypeParser('*', (_request, payload, done) => done(null, payload));

type Named = { Params: { name: string } };
app.get('/health', () => 'ok');
app.get<Named>('/:name', async (request, reply) => {
  const path = join(folder, request.params.name);
  const { size } = await stat(path);
  return reply.header('content-length', size).type('application/octet-stream').send(createReadStream(path));
});
app.put<Named>('/:name', async (request) => {
  const { name } = request.params;
  await pipeline(request.body as Readable, createWriteStream(join(folder, name), { flush }));
  await pool?.query({ name: 'insert', text: INSERT, values: [name] });
  return {};
});

await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT) });
process.once('SIGTERM', () => void app.close().then(() => pool?.end()));
