import { test } from 'vitest';
import { FILMS } from './films.ts';
import { expectReads } from './scenarios.ts';
import { OPEN, startApi } from './start.ts';

test('relationships are found through views of every shape', async () => {
  const api = await startApi(`${FILMS}
    create schema inner_part;
    create table inner_part.secrets (id int primary key, film_id int references films, word text);
    insert into inner_part.secrets values (1, 2, 'rosebud');
    create view secrets as select id, film_id from inner_part.secrets;
    create view inner_part.hop as select id, film_id from inner_part.secrets;
    create view through_hop as select * from inner_part.hop;
    create view with_cte as with f as (select * from films where year > 1900) select f.id, f.title, f.director_id from f;
    create view with_subselect as select s.id, s.boss_of from (select id, director_id as boss_of from films) s;
    create view with_using as select id, director_id, title from films join (select id from films) x using (id);
    create view with_union as select id, director_id from films union all select id, director_id from films;
    create view with_aggregate as select director_id, count(*) as n, max(title) as title from films group by director_id;
    create view with_window as select id, director_id, rank() over (order by year) as place from films;
    create view with_lateral as select f.id, f.director_id, r.n from films f, lateral (select count(*) as n from roles where film_id = f.id) r;
    create view with_case as select id, coalesce(director_id, 0) as director_id from films;
    create view partial_pairs as select film_id, character from roles;
    create view whole_pairs as select film_id as f, actor_id as a, character from roles;
    create view twice as select id, director_id, director_id as again from films;
    create view "Odd (View) {x}" as select id as "I'd", director_id as "d\\ir" from films;
    create view of_view_join as select v.film_id, d.id as director from nominations_view v join films f on f.id = v.film_id join directors d on d.id = f.director_id;
    create table notes (id int primary key, film int, actor int, text text, foreign key (film, actor) references roles);
    insert into notes values (1, 2, 1, 'hm');
    create view notes_view as select id, film, actor from notes;
    ${OPEN}
    grant all on all tables in schema inner_part to anon, authenticated;`);
  const tarantino = { last_name: 'Tarantino' };
  await expectReads(api, [
    { path: 'secrets?select=id,films(title)', body: [{ id: 1, films: { title: 'Pulp Fiction' } }] },
    { path: 'films?select=id,secrets(id)&id=eq.2', body: [{ id: 2, secrets: [{ id: 1 }] }] },
    { path: 'through_hop?select=id,films(title)', body: [{ id: 1, films: { title: 'Pulp Fiction' } }] },
    { path: 'with_cte?select=id,directors(last_name)&id=eq.2', body: [{ id: 2, directors: tarantino }] },
    { path: 'with_subselect?select=id,directors(last_name)&id=eq.2', body: [{ id: 2, directors: tarantino }] },
    {
      path: 'with_using?select=title,directors(last_name)&id=eq.2',
      body: [{ title: 'Pulp Fiction', directors: tarantino }],
    },
    { path: 'with_union?select=id,directors(last_name)', status: 400, body: { code: 'PGRST200' } },
    { path: 'with_aggregate?select=n,directors(last_name)&director_id=eq.2', body: [{ n: 2, directors: tarantino }] },
    {
      path: 'with_window?select=place,directors(last_name)&id=eq.1',
      body: [{ place: 1, directors: { last_name: 'Lumière' } }],
    },
    { path: 'with_lateral?select=n,directors(last_name)&id=eq.2', body: [{ n: 3, directors: tarantino }] },
    { path: 'with_case?select=id,directors(last_name)', status: 400, body: { code: 'PGRST200' } },
    { path: 'twice?select=id,directors(last_name)&id=eq.2', status: 300, body: { code: 'PGRST201' } },
    { path: 'twice?select=id,directors!again(last_name)&id=eq.2', body: [{ id: 2, directors: tarantino }] },
    {
      path: `Odd%20(View)%20{x}?select="I'd",directors(last_name)&"I'd"=eq.2`,
      body: [{ "I'd": 2, directors: tarantino }],
    },
    {
      path: 'of_view_join?select=director,films(title)&films.order=id&limit=1',
      body: [{ director: 2, films: [{ title: 'Pulp Fiction' }, { title: 'Reservoir Dogs' }] }],
    },
    { path: 'notes_view?select=id,whole_pairs(character)', body: [{ id: 1, whole_pairs: { character: 'Vincent' } }] },
    { path: 'notes?select=id,whole_pairs(character)', body: [{ id: 1, whole_pairs: { character: 'Vincent' } }] },
    { path: 'notes?select=id,roles(character)', body: [{ id: 1, roles: { character: 'Vincent' } }] },
    { path: 'notes?select=id,partial_pairs(character)', status: 400, body: { code: 'PGRST200' } },
    {
      path: 'roles?select=character,notes_view(id)&actor_id=eq.1',
      body: [{ character: 'Vincent', notes_view: [{ id: 1 }] }],
    },
    // A new view must not make the names of columns and constraints ambiguous.
    { path: 'films?select=id,director_id(last_name)&id=eq.2', body: [{ id: 2, director_id: tarantino }] },
    { path: 'films?select=id,films_director(last_name)&id=eq.2', body: [{ id: 2, films_director: tarantino }] },
  ]);
});
