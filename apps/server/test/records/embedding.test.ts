import { expect, test } from 'vitest';
import { FILMS } from './films.ts';
import { expectReads } from './scenarios.ts';
import { OPEN, startApi } from './start.ts';

test('foreign keys embed in both directions, through junctions and one to one', async () => {
  const api = await startApi(FILMS);
  await expectReads(api, [
    {
      path: 'films?select=title,directors(last_name)&id=in.(1,4)&order=id',
      body: [
        { title: 'Workers', directors: { last_name: 'Lumière' } },
        { title: 'Orphan', directors: null },
      ],
    },
    { path: 'films?select=title,director:directors(id)&id=eq.1', body: [{ title: 'Workers', director: { id: 1 } }] },
    {
      path: 'directors?select=last_name,films(title)&order=id&films.order=id',
      body: [
        { last_name: 'Lumière', films: [{ title: 'Workers' }] },
        { last_name: 'Tarantino', films: [{ title: 'Pulp Fiction' }, { title: 'Reservoir Dogs' }] },
        { last_name: 'Else', films: [] },
      ],
    },
    {
      path: 'actors?select=first_name,films(title)&order=id&films.order=title&id=gt.2',
      body: [
        { first_name: 'Harvey', films: [{ title: 'Pulp Fiction' }, { title: 'Reservoir Dogs' }] },
        { first_name: 'Idle', films: [] },
      ],
    },
    {
      path: 'films?select=title,technical_specs(camera)&id=in.(2,4)&order=id',
      body: [
        { title: 'Pulp Fiction', technical_specs: { camera: 'Arriflex' } },
        { title: 'Orphan', technical_specs: null },
      ],
    },
    {
      path: 'technical_specs?select=camera,films(title)&film_id=eq.3',
      body: [{ camera: 'Mitchell', films: { title: 'Reservoir Dogs' } }],
    },
    {
      path: 'actors?select=first_name,roles(character,films(title,directors(last_name)))&id=eq.1',
      body: [
        {
          first_name: 'John',
          roles: [{ character: 'Vincent', films: { title: 'Pulp Fiction', directors: { last_name: 'Tarantino' } } }],
        },
      ],
    },
    {
      path: 'films?select=*,directors(*)&id=eq.1',
      body: [
        {
          id: 1,
          director_id: 1,
          title: 'Workers',
          year: 1895,
          rating: 7,
          directors: { id: 1, first_name: 'Louis', last_name: 'Lumière' },
        },
      ],
    },
    {
      path: 'films?select=id,a:directors(id),b:directors(last_name)&id=eq.1',
      body: [{ id: 1, a: { id: 1 }, b: { last_name: 'Lumière' } }],
    },
  ]);
});

test('a key to the table itself means the one by its column and the many by its table', async () => {
  const api = await startApi(FILMS);
  await expectReads(api, [
    { path: 'employees?select=name,boss(name)&id=eq.4', body: [{ name: 'Smith', boss: { name: 'Miller' } }] },
    {
      path: 'employees?select=name,boss(name,boss(name))&id=eq.4',
      body: [{ name: 'Smith', boss: { name: 'Miller', boss: { name: 'Taylor' } } }],
    },
    {
      path: 'employees?select=name,chief:employees_boss(name)&id=eq.2',
      body: [{ name: 'Miller', chief: { name: 'Taylor' } }],
    },
    {
      path: 'employees?select=name,team:employees!boss(name)&id=eq.1&team.order=id',
      body: [{ name: 'Taylor', team: [{ name: 'Miller' }, { name: 'Johnson' }] }],
    },
    {
      path: 'employees?select=name,employees(name)&id=eq.2',
      body: [{ name: 'Miller', employees: [{ name: 'Smith' }] }],
    },
  ]);
});

test('several relationships need a hint, and the refusal gives it', async () => {
  const api = await startApi(FILMS);
  await expectReads(api, [
    {
      path: 'orders?select=name,addresses(name)',
      status: 300,
      body: {
        code: 'PGRST201',
        message: "Could not embed because more than one relationship was found for 'orders' and 'addresses'",
        details: [
          {
            cardinality: 'many-to-one',
            embedding: 'orders with addresses',
            relationship: 'billing using orders(billing_id) and addresses(id)',
          },
          {
            cardinality: 'many-to-one',
            embedding: 'orders with addresses',
            relationship: 'shipping using orders(shipping_id) and addresses(id)',
          },
        ],
        hint: "Try changing 'addresses' to one of the following: 'addresses!billing', 'addresses!shipping'. Find the desired relationship in the 'details' key.",
      },
    },
    {
      path: 'orders?select=name,b:addresses!billing(name),s:addresses!shipping_id(name)&id=eq.1',
      body: [{ name: 'Filter', b: { name: 'Home' }, s: { name: 'Work' } }],
    },
    {
      path: 'orders?select=billing(name),shipping_id(name)&id=eq.1',
      body: [{ billing: { name: 'Home' }, shipping_id: { name: 'Work' } }],
    },
    {
      path: 'addresses?select=name,billed:orders!billing(name)&id=eq.1&billed.order=id',
      body: [{ name: 'Home', billed: [{ name: 'Filter' }, { name: 'Cup' }] }],
    },
    { path: 'actors?select=films!roles(title)&id=eq.1', body: [{ films: [{ title: 'Pulp Fiction' }] }] },
    {
      path: 'films?select=nothing(id)',
      status: 400,
      body: {
        code: 'PGRST200',
        message: "Could not find a relationship between 'films' and 'nothing' in the schema cache",
        details:
          "Searched for a foreign key relationship between 'films' and 'nothing' in the schema 'public', but no matches were found.",
      },
    },
    {
      path: 'films?select=director(id)',
      status: 400,
      body: { code: 'PGRST200', hint: "Perhaps you meant 'directors' instead of 'director'." },
    },
    {
      path: 'films?select=directors!wrong(id)',
      status: 400,
      body: {
        code: 'PGRST200',
        details:
          "Searched for a foreign key relationship between 'films' and 'directors' using the hint 'wrong' in the schema 'public', but no matches were found.",
      },
    },
    {
      path: 'films?select=id&directors.id=eq.1',
      status: 400,
      body: {
        code: 'PGRST108',
        message: "'directors' is not an embedded resource in this request",
        hint: "Verify that 'directors' is included in the 'select' query parameter.",
      },
    },
  ]);
});

test('embedded resources are filtered, ordered and limited on their own', async () => {
  const api = await startApi(FILMS);
  await expectReads(api, [
    {
      path: 'films?select=title,roles(character)&id=eq.2&roles.character=in.(Mia,Wolf)&roles.order=character',
      body: [{ title: 'Pulp Fiction', roles: [{ character: 'Mia' }, { character: 'Wolf' }] }],
    },
    {
      path: 'films?select=title,roles(character)&id=eq.2&roles.or=(character.eq.Mia,character.eq.Vincent)&roles.order=character.desc',
      body: [{ title: 'Pulp Fiction', roles: [{ character: 'Vincent' }, { character: 'Mia' }] }],
    },
    {
      path: 'films?select=title,actors(first_name)&id=eq.2&actors.order=first_name&actors.limit=1&actors.offset=1',
      body: [{ title: 'Pulp Fiction', actors: [{ first_name: 'John' }] }],
    },
    {
      path: 'films?select=id,a:actors(first_name),b:actors(first_name)&id=eq.2&a.first_name=eq.Uma&b.first_name=eq.John',
      body: [{ id: 2, a: [{ first_name: 'Uma' }], b: [{ first_name: 'John' }] }],
    },
    {
      path: 'directors?select=id,films(id,roles(character))&id=eq.2&films.order=id&films.roles.character=like.M*&films.roles.order=character',
      body: [
        {
          id: 2,
          films: [
            { id: 2, roles: [{ character: 'Mia' }] },
            { id: 3, roles: [{ character: 'Mr. White' }] },
          ],
        },
      ],
    },
    {
      path: 'films?select=id,directors(first_name)&directors.first_name=eq.Louis&order=id',
      body: [
        { id: 1, directors: { first_name: 'Louis' } },
        { id: 2, directors: null },
        { id: 3, directors: null },
        { id: 4, directors: null },
      ],
    },
    {
      path: 'films?select=id,roles(character)&id=eq.2&roles.not.or=(character.eq.Mia,character.eq.Wolf)',
      body: [{ id: 2, roles: [{ character: 'Vincent' }] }],
    },
    { path: 'films?select=id,roles(*)&id=eq.2&roles.limit=0', body: [{ id: 2, roles: [] }] },
  ]);
});

test('inner embeds and null filters choose the rows around them', async () => {
  const api = await startApi(FILMS);
  await expectReads(api, [
    {
      path: 'films?select=title,actors!inner(first_name)&actors.first_name=eq.Uma',
      body: [{ title: 'Pulp Fiction', actors: [{ first_name: 'Uma' }] }],
    },
    {
      path: 'films?select=title,directors!inner(first_name)&directors.first_name=eq.Louis',
      body: [{ title: 'Workers', directors: { first_name: 'Louis' } }],
    },
    {
      path: 'films?select=title,d:directors!films_director!inner()&d.first_name=eq.Louis',
      body: [{ title: 'Workers' }],
    },
    {
      path: 'directors?select=last_name,films!inner(id,roles!inner(character))&films.roles.character=eq.Mia',
      body: [{ last_name: 'Tarantino', films: [{ id: 2, roles: [{ character: 'Mia' }] }] }],
    },
    {
      path: 'films?select=title,actors(first_name)&actors.first_name=eq.Uma&actors=not.is.null',
      body: [{ title: 'Pulp Fiction', actors: [{ first_name: 'Uma' }] }],
    },
    { path: 'films?select=id,nominations()&nominations=is.null&order=id', body: [{ id: 1 }, { id: 3 }, { id: 4 }] },
    { path: 'films?select=id,directors()&directors=is.null', body: [{ id: 4 }] },
    {
      path: 'films?select=id,directors(id)&directors=not.is.null&order=id.desc',
      body: [
        { id: 3, directors: { id: 2 } },
        { id: 2, directors: { id: 2 } },
        { id: 1, directors: { id: 1 } },
      ],
    },
    {
      path: 'films?select=id,actors(),directors()&or=(actors.is.null,directors.is.null)&order=id',
      body: [{ id: 1 }, { id: 4 }],
    },
    {
      path: 'films?select=id,act:actors(),dir:directors(),directors(first_name)&act.first_name=eq.Uma&dir.first_name=eq.Louis&or=(act.not.is.null,dir.not.is.null)&order=id',
      body: [
        { id: 1, directors: { first_name: 'Louis' } },
        { id: 2, directors: { first_name: 'Quentin' } },
      ],
    },
    { path: 'films?select=id,actors()&not.and=(actors.is.null)&order=id', body: [{ id: 2 }, { id: 3 }] },
    {
      path: 'films?select=id,directors()&directors=eq.1',
      status: 400,
      body: {
        code: 'PGRST120',
        message: "Bad operator on the 'directors' embedded resource",
        details: 'Only is null or not is null filters are allowed on embedded resources',
      },
    },
    { path: 'films?select=id,directors(films())&id=eq.1', body: [{ id: 1 }] },
    {
      path: 'films?select=id,actors!inner()&order=id',
      headers: { prefer: 'count=exact' },
      body: [{ id: 2 }, { id: 3 }],
      has: { 'content-range': '0-1/2' },
    },
    {
      path: 'films?select=id,actors!inner(id)&order=id&limit=1',
      headers: { prefer: 'count=exact' },
      status: 206,
      body: [{ id: 2, actors: [{ id: 1 }, { id: 2 }, { id: 3 }] }],
      has: { 'content-range': '0-0/2' },
    },
    {
      path: 'films?select=id,nominations()&nominations=is.null&limit=1&order=id',
      headers: { prefer: 'count=exact' },
      status: 206,
      body: [{ id: 1 }],
      has: { 'content-range': '0-0/3' },
    },
  ]);
});

test('rows are ordered by columns of a to-one resource', async () => {
  const api = await startApi(FILMS);
  await expectReads(api, [
    {
      path: 'films?select=id,directors(last_name)&order=directors(last_name).desc.nullslast,id.desc',
      body: [
        { id: 3, directors: { last_name: 'Tarantino' } },
        { id: 2, directors: { last_name: 'Tarantino' } },
        { id: 1, directors: { last_name: 'Lumière' } },
        { id: 4, directors: null },
      ],
    },
    {
      path: 'films?select=id,d:directors(id)&order=d(first_name).nullsfirst,id&limit=2',
      body: [
        { id: 4, d: null },
        { id: 1, d: { id: 1 } },
      ],
    },
    { path: 'films?select=id,directors()&order=directors(first_name).desc.nullslast,id&limit=1', body: [{ id: 2 }] },
    {
      path: 'films?select=id,...directors(name:last_name)&order=directors(last_name),id&limit=1',
      body: [{ id: 1, name: 'Lumière' }],
    },
    {
      path: 'films?select=id,actors(id)&order=actors(id)',
      status: 400,
      body: {
        code: 'PGRST118',
        message: "A related order on 'actors' is not possible",
        details: "'films' and 'actors' do not form a many-to-one or one-to-one relationship",
      },
    },
    { path: 'films?select=id&order=directors(last_name)', status: 400, body: { code: 'PGRST108' } },
    {
      path: 'roles?select=character,films(id,directors(id))&films.order=directors(id)&order=film_id,actor_id&limit=1',
      body: [{ character: 'Vincent', films: { id: 2, directors: { id: 2 } } }],
    },
  ]);
});

test('a column may be called like what is embedded by it', async () => {
  const api = await startApi(`
    create table status (id int primary key, label text);
    create table jobs (id int primary key, status int references status, boss int references jobs);
    insert into status values (1, 'new'), (2, 'done');
    insert into jobs values (1, 1, null), (2, 2, 1);
    ${OPEN}`);
  await expectReads(api, [
    { path: 'jobs?select=id,status(label)&status=eq.2', body: [{ id: 2, status: { label: 'done' } }] },
    { path: 'jobs?select=id,boss(id)&boss=in.(1)', body: [{ id: 2, boss: { id: 1 } }] },
    { path: 'jobs?select=id,boss(id)&boss=is.null', body: [{ id: 1, boss: null }] },
    { path: 'jobs?select=id,s:status(label)&s=eq.2', status: 400, body: { code: 'PGRST120' } },
  ]);
});

test('a view can be the junction, one of another schema cannot', async () => {
  const api = await startApi(`
    create table tags (id int primary key, name text);
    create table notes (id int primary key);
    create schema hidden;
    create table hidden.note_tags (note int references notes, tag int references tags, primary key (note, tag));
    insert into tags values (1, 'red'), (2, 'blue');
    insert into notes values (1), (2);
    insert into hidden.note_tags values (1, 1), (1, 2);
    ${OPEN}`);
  const path = 'notes?select=id,tags(name)&order=id&tags.order=name';
  await expectReads(api, [{ path, status: 400, body: { code: 'PGRST200' } }]);
  await api.ddl('create view note_tags as select * from hidden.note_tags; grant select on note_tags to authenticated');
  const body = [
    { id: 1, tags: [{ name: 'blue' }, { name: 'red' }] },
    { id: 2, tags: [] },
  ];
  await expectReads(api, [{ path, body }]);
  await api.ddl('create view more_tags as select * from hidden.note_tags; grant select on more_tags to authenticated');
  await expectReads(api, [
    { path, status: 300, body: { code: 'PGRST201' } },
    { path: 'notes?select=id,tags!more_tags(name)&id=eq.2', body: [{ id: 2, tags: [] }] },
  ]);
});

test('spreading lifts columns, of many rows as arrays', async () => {
  const api = await startApi(FILMS);
  await expectReads(api, [
    {
      path: 'films?select=title,...directors(director_name:last_name)&order=id&id=in.(1,4)',
      body: [
        { title: 'Workers', director_name: 'Lumière' },
        { title: 'Orphan', director_name: null },
      ],
    },
    {
      path: 'films?select=title,actors:roles(character,...actors(first_name))&id=eq.3',
      body: [{ title: 'Reservoir Dogs', actors: [{ character: 'Mr. White', first_name: 'Harvey' }] }],
    },
    {
      path: 'directors?select=first_name,...films(film_titles:title,film_years:year)&films.order=year&order=id',
      body: [
        { first_name: 'Louis', film_titles: ['Workers'], film_years: [1895] },
        { first_name: 'Quentin', film_titles: ['Reservoir Dogs', 'Pulp Fiction'], film_years: [1992, 1994] },
        { first_name: 'Nobody', film_titles: [], film_years: [] },
      ],
    },
    {
      path: 'directors?select=first_name,...films(titles:title,...technical_specs(cameras:camera),...roles(characters:character))&films.order=year&films.roles.order=character&id=eq.2',
      body: [
        {
          first_name: 'Quentin',
          titles: ['Reservoir Dogs', 'Pulp Fiction'],
          cameras: ['Mitchell', 'Arriflex'],
          characters: [['Mr. White'], ['Mia', 'Vincent', 'Wolf']],
        },
      ],
    },
    {
      path: 'films?select=id,...directors!inner(*)&order=id&limit=1&directors.first_name=eq.Quentin',
      body: [{ id: 2, first_name: 'Quentin', last_name: 'Tarantino' }],
    },
    {
      path: 'films?select=title,...directors(first_name,films(id))&id=eq.1',
      body: [{ title: 'Workers', first_name: 'Louis', films: [{ id: 1 }] }],
    },
    { path: 'films?select=id,...directors()&id=eq.1', body: [{ id: 1 }] },
    {
      path: 'films?select=id,...actors(first_name)&id=eq.2&actors.order=first_name',
      body: [{ id: 2, first_name: ['Harvey', 'John', 'Uma'] }],
    },
    {
      path: 'films?select=id,...actors(first_name)&actors=is.null&order=id',
      body: [
        { id: 1, first_name: [] },
        { id: 4, first_name: [] },
      ],
    },
    { path: 'films?select=id,...directors(last_name)&directors=is.null', body: [{ id: 4, last_name: null }] },
  ]);
});

test('functions of a row are fields and relationships', async () => {
  const api = await startApi(`${FILMS}
    create function directors(films) returns setof directors rows 1 stable language sql as $$ select * from directors where id = 3 $$;
    ${OPEN}`);
  await expectReads(api, [
    { path: 'directors?select=full_name,id&id=eq.1', body: [{ full_name: 'Louis Lumière', id: 1 }] },
    { path: 'directors?select=id&full_name=like.Q*', body: [{ id: 2 }] },
    { path: 'directors?select=id&order=full_name.desc', body: [{ id: 2 }, { id: 3 }, { id: 1 }] },
    { path: 'directors?select=id&full_name=fts(simple).louis', body: [{ id: 1 }] },
    { path: 'directors?select=*&id=eq.1', body: [{ id: 1, first_name: 'Louis', last_name: 'Lumière' }] },
    {
      path: 'directors?select=id,debut(title),oeuvre(title)&id=eq.2&oeuvre.order=title',
      body: [
        { id: 2, debut: { title: 'Reservoir Dogs' }, oeuvre: [{ title: 'Pulp Fiction' }, { title: 'Reservoir Dogs' }] },
      ],
    },
    {
      path: 'directors?select=id,debut!inner(title,technical_specs(camera))&order=id',
      body: [
        { id: 1, debut: { title: 'Workers', technical_specs: null } },
        { id: 2, debut: { title: 'Reservoir Dogs', technical_specs: { camera: 'Mitchell' } } },
      ],
    },
    { path: 'films?select=id,directors(id)&id=eq.1', body: [{ id: 1, directors: { id: 3 } }] },
  ]);
});

test('views are related like the tables below them', async () => {
  const api = await startApi(FILMS);
  await expectReads(api, [
    {
      path: 'nominations_view?select=film_title,roles(character),actors(first_name)&rank=eq.5&roles.order=character&actors.order=id',
      body: [
        {
          film_title: 'Pulp Fiction',
          roles: [{ character: 'Mia' }, { character: 'Vincent' }, { character: 'Wolf' }],
          actors: [{ first_name: 'John' }, { first_name: 'Uma' }, { first_name: 'Harvey' }],
        },
      ],
    },
    {
      path: 'films_view?select=title,directors(last_name),technical_specs(camera)&id=eq.2',
      body: [{ title: 'Pulp Fiction', directors: { last_name: 'Tarantino' }, technical_specs: { camera: 'Arriflex' } }],
    },
    {
      path: 'directors?select=last_name,films_view(title)&id=eq.1',
      body: [{ last_name: 'Lumière', films_view: [{ title: 'Workers' }] }],
    },
    {
      path: 'films_chain?select=film_key,directors(last_name)&film_key=eq.1',
      body: [{ film_key: 1, directors: { last_name: 'Lumière' } }],
    },
    { path: 'directors?select=films_chain(film_key)&id=eq.1', body: [{ films_chain: [{ film_key: 1 }] }] },
    { path: 'films_frozen?select=id,directors(id)&id=eq.1', body: [{ id: 1, directors: { id: 1 } }] },
    {
      path: 'films_view?select=id,director_id(last_name)&id=eq.1',
      body: [{ id: 1, director_id: { last_name: 'Lumière' } }],
    },
    { path: 'actors?select=id,films_view(title)&id=eq.1', body: [{ id: 1, films_view: [{ title: 'Pulp Fiction' }] }] },
  ]);
});

test('partitioned tables and composite keys are related too', async () => {
  const api = await startApi(`${FILMS}
    create table box_office (day date, film_id int references films, gross int, primary key (day, film_id)) partition by range (day);
    create table box_office_2021 partition of box_office for values from ('2021-01-01') to ('2022-01-01');
    insert into box_office values ('2021-02-01', 2, 100);
    create table rooms (house int, number int, primary key (house, number));
    create table beds (id int primary key, house int, room int, foreign key (house, room) references rooms);
    insert into rooms values (1, 1), (1, 2);
    insert into beds values (1, 1, 2);
    ${OPEN}`);
  await expectReads(api, [
    { path: 'box_office?select=gross,films(title)', body: [{ gross: 100, films: { title: 'Pulp Fiction' } }] },
    {
      path: 'films?select=title,box_office(gross)&id=eq.2',
      body: [{ title: 'Pulp Fiction', box_office: [{ gross: 100 }] }],
    },
    { path: 'box_office_2021', status: 404, body: { code: '42P01' } },
    { path: 'beds?select=id,rooms(number)', body: [{ id: 1, rooms: { number: 2 } }] },
    {
      path: 'rooms?select=number,beds(id)&order=number',
      body: [
        { number: 1, beds: [] },
        { number: 2, beds: [{ id: 1 }] },
      ],
    },
  ]);
});

test('what a function returns can embed and be filtered', async () => {
  const api = await startApi(FILMS);
  await expectReads(api, [
    {
      path: 'rpc/all_films?select=title,directors(last_name)&title=like.W*',
      body: [{ title: 'Workers', directors: { last_name: 'Lumière' } }],
    },
    { path: 'rpc/all_films?select=id,actors!inner(id)&order=id.desc&limit=1', body: [{ id: 3, actors: [{ id: 3 }] }] },
    {
      path: 'rpc/best_film?select=title,directors(full_name)',
      body: { title: 'Pulp Fiction', directors: { full_name: 'Quentin Tarantino' } },
    },
    {
      path: 'rpc/all_films?select=id&rating=gt.8&order=title.desc',
      headers: { prefer: 'count=exact' },
      body: [{ id: 3 }, { id: 2 }],
      has: { 'content-range': '0-1/2' },
    },
  ]);
});

test('writes embed in what they return', async () => {
  const { as } = await startApi(FILMS);
  const returning = { prefer: 'return=representation' };
  const inserted = await as('alice').post(
    'films?select=title,director:directors(last_name),actors(id)',
    { id: 100, director_id: 1, title: '127 hours' },
    returning,
  );
  expect([inserted.status, inserted.body]).toEqual([
    201,
    [{ title: '127 hours', director: { last_name: 'Lumière' }, actors: [] }],
  ]);
  const updated = await as('alice').patch(
    'films?id=eq.2&select=id,actors(first_name),...directors(name:full_name)&actors.order=id&actors.limit=1',
    { year: 1995 },
    returning,
  );
  expect(updated.body).toEqual([{ id: 2, actors: [{ first_name: 'John' }], name: 'Quentin Tarantino' }]);
  const person = await as('alice').post(
    'directors?select=id,full_name,debut(id),oeuvre(id)',
    { id: 9, first_name: 'A', last_name: 'B' },
    returning,
  );
  expect(person.body).toEqual([{ id: 9, full_name: 'A B', debut: null, oeuvre: [] }]);
  const deleted = await as('alice').delete('roles?film_id=eq.3&select=character,films(title)', returning);
  expect(deleted.body).toEqual([{ character: 'Mr. White', films: { title: 'Reservoir Dogs' } }]);
  const ordered = await as('alice').patch('films?id=in.(2,3)&select=id&order=id.desc', { year: 1 }, returning);
  expect(ordered.body).toEqual([{ id: 3 }, { id: 2 }]);
});
