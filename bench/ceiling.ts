/**
 * The ceiling: a bare Fastify handler that runs one SQL text through `pg`, on one login, without roles,
 * claims, policies or validation. What this does in a second is the most that any server of this kind can.
 */
import { fastify } from 'fastify';
import { Pool } from 'pg';

/** The answer is the first column, and the second its count, where there is one. */
export interface BareStatement {
  text: string;
  /** What of a request is the one parameter. */
  parameter?: 'id' | 'body' | undefined;
  isCounted?: boolean | undefined;
}

const { text, parameter, isCounted }: BareStatement = JSON.parse(process.env.STATEMENT ?? '');
const pool = new Pool({ ...JSON.parse(process.env.DATABASE ?? ''), max: 20 });
const app = fastify();
app.addContentTypeParser('application/json', { parseAs: 'string' }, (_request, body, done) => done(null, body));

/** Values as text, unparsed: the body passes through here as it does with us. */
const types = { getTypeParser: () => (value: string) => value };
const run = (id: string, body: unknown) =>
  pool.query<string[]>({
    name: 's',
    text,
    values: parameter === undefined ? [] : [parameter === 'id' ? id : body],
    rowMode: 'array',
    types,
  });

app.get('/health', () => 'ok');
app.get<{ Params: { id: string } }>('/:id', async (request, reply) => {
  const { rows } = await run(request.params.id, null);
  const [body, count] = rows[0] ?? [];
  if (isCounted) reply.header('content-range', `*/${count}`);
  return reply.header('content-type', 'application/json; charset=utf-8').send(body);
});
app.post('/', async (request, reply) => {
  const { rows } = await run('', request.body);
  return reply
    .code(201)
    .header('content-type', 'application/json; charset=utf-8')
    .send(rows[0]?.[0] || '[]');
});

await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT) });
process.once('SIGTERM', () => void app.close().then(() => pool.end()));
