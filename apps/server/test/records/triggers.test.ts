import { expect, test } from 'vitest';
import { startApi } from './start.ts';

/** Only on a lane are statements cut so soon, which tells where one ran. */
const CUT = '50ms';
/** A busy machine may cut what is short; a statement then stays off the lanes for a while. */
const PATIENT = { interval: 1, timeout: 25_000 };

const LIMIT = `"limit" text default current_setting('statement_timeout')`;
const FUNCTIONS = `
  create function stamp() returns trigger language plpgsql as $$ BEGIN NEW.at = now(); RETURN NEW; END; $$;
  create function anything() returns trigger language plpgsql as 'begin return new; end'`;
const onRows = (table: string) =>
  `create trigger anything before insert on ${table} for each row execute function anything();`;

/** By the name of a table: what makes it run code of the project. */
const WITH_CODE = {
  triggered: `create table triggered (id serial primary key, ${LIMIT}); ${onRows('triggered')}`,
  partitioned: `create table partitioned (id serial, ${LIMIT}) partition by range (id);
    create table part partition of partitioned default; ${onRows('part')}`,
  inherited: `create table inherited (id serial primary key, ${LIMIT});
    create table heir () inherits (inherited); ${onRows('heir')}`,
  cascading: `create table cascading (id serial primary key, ${LIMIT});
    create table child (parent int references cascading on delete cascade); ${onRows('child')}`,
  seen: `create table below (id serial primary key, ${LIMIT}); ${onRows('below')} create view seen as select * from below`,
  ruled: `create table ruled (id serial primary key, ${LIMIT}); create table copies (like ruled);
    create rule copy as on update to ruled do also insert into copies values (new.*)`,
};
const WITHOUT = {
  plain: `create table plain (id serial primary key, ${LIMIT});
    create table referencing (plain int references plain); ${onRows('referencing')}`,
  stamped: `create table stamped (id serial primary key, ${LIMIT}, at timestamptz);
    create trigger stamp before insert or update on stamped for each row execute function stamp()`,
  disabled: `create table disabled (id serial primary key, ${LIMIT}); ${onRows('disabled')}
    alter table disabled disable trigger anything`,
};

test('only writes that run no code of the project share lanes', async () => {
  const { as } = await startApi([FUNCTIONS, ...Object.values({ ...WITH_CODE, ...WITHOUT })].join(';\n'));
  const tables = Object.keys({ ...WITH_CODE, ...WITHOUT });
  const onLane = new Map<string, number>();
  const prefer = { prefer: 'return=representation' };
  const writeAll = async () => {
    for (const table of tables) {
      const { body } = await as('admin').post(`${table}?select=limit`, {}, prefer);
      if (body[0].limit === CUT) onLane.set(table, (onLane.get(table) ?? 0) + 1);
    }
    return Math.min(...Object.keys(WITHOUT).map((table) => onLane.get(table) ?? 0));
  };
  // Several times, because what is on a lane later than the others would be missed.
  await expect.poll(writeAll, PATIENT).toBeGreaterThan(5);
  expect([...onLane.keys()].sort()).toEqual(Object.keys(WITHOUT).sort());
});

test('a slow trigger runs once for each row', async () => {
  const { as, sql } = await startApi(`
    create table notes (title text);
    create sequence runs;
    create function count_run() returns trigger language plpgsql as $$
      begin
        perform nextval('runs'), pg_sleep(case new.title when 'slow' then 0.1 else 0 end);
        return new;
      end $$;
    create trigger count_run before insert on notes for each row execute function count_run()`);
  const insert = (title: string) => as('admin').post('notes', { title });
  // A short statement first, because what has never been short shares nothing anyway.
  const titles = [...Array(20).fill('quick'), 'slow', ...Array(5).fill('quick'), 'slow'];
  for (const title of titles) expect((await insert(title)).status).toBe(201);
  expect(await sql('select last_value::int as runs from runs')).toEqual([{ runs: titles.length }]);
});
