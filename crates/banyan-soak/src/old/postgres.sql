-- The small shop of examples/mariadb-shop, on Postgres: the same tables and habits.
create role banyan superuser replication login;

create table product (id serial primary key, sku varchar(40) not null unique, title varchar(200) not null, price numeric(10, 2) not null);

create table stock (
    id bigserial primary key,
    sku varchar(40) not null,
    place varchar(20) not null default 'main',
    num_in_stock integer not null default 0,
    num_allocated integer,
    note varchar(200),
    unique (sku, place)
);

create table display (sku varchar(40) primary key, units smallint not null default 0);

create table stock_history (
    id bigserial primary key,
    stock_id bigint not null,
    was integer,
    became integer,
    changed_by varchar(100) not null,
    changed_at timestamptz not null default clock_timestamp()
);

-- What the run writes down beside what it does, in the same transaction: the truth that both sides are held to.
create table soak_order (id bigint primary key, sku varchar(40) not null, quantity integer not null, state varchar(12) not null,
    led varchar(12) not null, reservation varchar(40));
create index soak_order_state on soak_order (state, id);
create table soak_move (id bigserial primary key, sku varchar(40) not null, kind varchar(12) not null, value integer not null);
create table soak_told (id bigserial primary key, kind varchar(12) not null);
create table soak_foreign (id bigserial primary key, sku varchar(40) not null, place varchar(20) not null, position numeric(20) not null);

-- A history, and a cached number elsewhere. What the trigger does to a mapped row within Banyan's own write is a foreign write too.
create function stock_changed() returns trigger language plpgsql as $$
begin
    insert into stock_history (stock_id, was, became, changed_by) values (new.id, old.num_in_stock, new.num_in_stock, session_user);
    if new.num_in_stock = 0 and old.num_in_stock > 0 then
        update display set units = 0 where sku = new.sku and units <> 0;
        if found and session_user = 'banyan' then
            insert into soak_foreign (sku, place, position) values (new.sku, 'display', pg_current_wal_insert_lsn() - '0/0'::pg_lsn);
        end if;
    end if;
    return null;
end $$;
create trigger stock_changed after update on stock for each row execute function stock_changed();
