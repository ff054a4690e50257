/**
 * The ceiling: a bare Fastify handler that runs one SQL text through `pg`, on one login, without roles,
 * claims, policies or validation. What this does in a second is the most that any server of this kind can.
 */
import { fastify } from 'fastify';
import { Pool } from 'pg';

const statement: { text: string; parameters: ('id' | 'body' | string)[] } = JSON.parse(process.env.STATEMENT ?? '');
const pool = new Pool({ ...JSON.parse(process.env.DATABASE ?? ''), max: 20 });
const app = fastify();
app.addContentTypeParser('application/json', { parseAs: 'string' }, (_request, body, done) => done(null, body));

/** Values as text, unparsed: the body passes through here as it does with us. */
const types = { getTypeParser: () => (value: string) => value };
const run = (id: string, body: unknown) =>
  pool.query({ name: 's', text: statement.text, values: values(id, body), rowMode: 'array', types });

const values = (id: string, body: unknown) =>
  statement.parameters.map((parameter) => (parameter === '$id' ? id : parameter === '$body' ? body : parameter));

app.get('/health', () => 'ok');
app.get<{ Params: { id: string } }>('/:id', async (request, reply) => {
  const { rows } = await run(request.params.id, null);
  return reply.header('content-type', 'application/json; charset=utf-8').send(rows[0]?.[0]);
});
app.post('/', async (request, reply) => {
  await run('', request.body);
  return reply.code(201).header('content-type', 'application/json; charset=utf-8').send('[]');
});

await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT) });
process.once('SIGTERM', () => void app.close().then(() => pool.end()));
