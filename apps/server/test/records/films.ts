import { OPEN } from './start.ts';

/** Films, their people and their awards: every kind of relationship between small tables. */
export const FILMS = `
  create table directors (id int primary key, first_name text, last_name text);
  create table actors (id int primary key, first_name text, last_name text);
  create table films (
    id int primary key, director_id int constraint films_director references directors, title text, year int, rating numeric
  );
  create table technical_specs (film_id int primary key references films, camera text);
  create table roles (
    film_id int constraint roles_film references films, actor_id int constraint roles_actor references actors,
    character text, primary key (film_id, actor_id)
  );
  create table competitions (id int primary key, name text, year int);
  create table nominations (
    competition_id int references competitions, film_id int references films, rank int,
    primary key (competition_id, film_id)
  );
  create table addresses (id int primary key, name text);
  create table orders (
    id int primary key, name text,
    billing_id int constraint billing references addresses, shipping_id int constraint shipping references addresses
  );
  create table employees (id int primary key, name text, boss int constraint employees_boss references employees);
  insert into directors values (1, 'Louis', 'Lumière'), (2, 'Quentin', 'Tarantino'), (3, 'Nobody', 'Else');
  insert into actors values (1, 'John', 'Travolta'), (2, 'Uma', 'Thurman'), (3, 'Harvey', 'Keitel'), (4, 'Idle', 'Hands');
  insert into films values (1, 1, 'Workers', 1895, 7), (2, 2, 'Pulp Fiction', 1994, 8.9), (3, 2, 'Reservoir Dogs', 1992, 8.3),
    (4, null, 'Orphan', 2009, null);
  insert into technical_specs values (2, 'Arriflex'), (3, 'Mitchell');
  insert into roles values (2, 1, 'Vincent'), (2, 2, 'Mia'), (2, 3, 'Wolf'), (3, 3, 'Mr. White');
  insert into competitions values (1, 'Cannes', 1994), (2, 'Oscars', 1995);
  insert into nominations values (1, 2, 1), (2, 2, 5);
  insert into addresses values (1, 'Home'), (2, 'Work');
  insert into orders values (1, 'Filter', 1, 2), (2, 'Cup', 1, 1), (3, 'None', null, null);
  insert into employees values (1, 'Taylor', null), (2, 'Miller', 1), (3, 'Johnson', 1), (4, 'Smith', 2);
  create view nominations_view as
    select f.title as film_title, c.name as competition_name, n.rank, n.film_id as nominated_id, f.id as film_id
    from nominations n join films f on f.id = n.film_id join competitions c on c.id = n.competition_id;
  create view films_view as select id, title, director_id from films;
  create view films_chain as select id as film_key, director_id as made_by from films_view;
  create materialized view films_frozen as select id, title, director_id from films;
  create function full_name(directors) returns text stable language sql as $$ select $1.first_name || ' ' || $1.last_name $$;
  create function debut(directors) returns setof films rows 1 stable language sql as $$
    select * from films where director_id = $1.id order by year limit 1
  $$;
  create function oeuvre(directors) returns setof films stable language sql as $$
    select * from films where director_id = $1.id
  $$;
  create function all_films() returns setof films stable language sql as $$ select * from films $$;
  create function best_film() returns films stable language sql as $$ select * from films order by rating desc nulls last limit 1 $$;
  ${OPEN}`;
