import { randomBytes } from 'node:crypto';
import { Client } from 'pg';
import { inject, onTestFinished } from 'vitest';
import { type Claims, createDb, type Db } from '../../src/platform/db/db.ts';

/** The two doors on a database of their own; `max` connections at the users' door. */
export async function openDoors(max = 1): Promise<{ db: Db; owner: Client }> {
  const postgres = inject('postgres');
  const name = `doors_${randomBytes(6).toString('hex')}`;
  const superuser = new Client({ ...postgres, database: 'postgres' });
  await superuser.connect();
  await superuser.query(`create database ${name} template template`);
  await superuser.query(`create role ${name} login noinherit password 'x'`);
  await superuser.query(`grant anon, authenticated, project_admin to ${name}`);
  const system = { ...postgres, database: name };
  const db = createDb({ authenticator: { ...system, user: name, password: 'x', max }, system, onError: () => {} });
  const owner = new Client(system);
  await owner.connect();
  await owner.query(`
    create table notes (id int primary key, owner uuid, title text);
    create policy own on notes to authenticated using (owner = (select auth.uid())) with check (true);
    grant select, insert on notes to anon, authenticated;
    insert into notes values (1, '00000000-0000-0000-0000-00000000000a', 'of a'), (2, '00000000-0000-0000-0000-00000000000b', 'of b')`);
  onTestFinished(async () => {
    await db.close();
    await owner.end();
    await superuser.query(`drop database ${name} with (force)`);
    await superuser.query(`drop role ${name}`);
    await superuser.end();
  });
  return { db, owner };
}

export const user = (letter: 'a' | 'b'): Claims => ({
  role: 'authenticated',
  sub: `00000000-0000-0000-0000-00000000000${letter}`,
});
