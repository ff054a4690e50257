/**
 * The ceilings of a session check: bare Fastify handlers that verify an access token with `jose`. One answers its
 * claims, the other reads the user with one prepared statement.
 */
import { fastify } from 'fastify';
import { createLocalJWKSet, type JWTPayload, jwtVerify } from 'jose';
import { Pool } from 'pg';

const keys = createLocalJWKSet(JSON.parse(process.env.JWKS ?? ''));
const pool = new Pool({ ...JSON.parse(process.env.DATABASE ?? ''), max: 20 });
const app = fastify();

const USER = `
  select json_build_object('user', json_build_object('id', id, 'email', email, 'emailVerified', email_verified,
    'providers', array(select provider from auth.user_providers where user_id = u.id order by created_at),
    'createdAt', created_at, 'updatedAt', updated_at, 'profile', profile, 'metadata', metadata))::text
  from auth.users u where id = $1`;

app.get('/health', () => 'ok');
app.get('/claims', ({ headers }) => claimsOf(headers));
app.get('/user', async ({ headers }, reply) => {
  const { sub } = await claimsOf(headers);
  const { rows } = await pool.query({ name: 'user', text: USER, values: [sub], rowMode: 'array' });
  return reply.header('content-type', 'application/json; charset=utf-8').send(rows[0]?.[0]);
});

async function claimsOf({ authorization }: { authorization?: string }): Promise<JWTPayload> {
  const token = authorization?.slice('Bearer '.length) ?? '';
  const { payload } = await jwtVerify(token, keys, { algorithms: ['RS256'], requiredClaims: ['sub', 'exp'] });
  return payload;
}

await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT) });
process.once('SIGTERM', () => void app.close().then(() => pool.end()));
