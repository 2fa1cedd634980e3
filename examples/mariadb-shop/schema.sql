-- A small old shop on MariaDB or MySQL: what is needed to see its stock follow and be followed.
-- The names are those of no real shop; the habits are: a trigger that keeps a history, a cached number somewhere else,
-- unsigned counters, nulls where nothing was ever sold.

create table product (
    id int unsigned not null auto_increment primary key,
    sku varchar(40) not null unique,
    title varchar(200) not null,
    price decimal(10, 2) not null
) engine = InnoDB default character set utf8mb4;

create table stock (
    id bigint unsigned not null auto_increment primary key,
    sku varchar(40) not null,
    place varchar(20) not null default 'main',
    num_in_stock int not null default 0,
    num_allocated smallint unsigned null,
    note varchar(200) null,
    unique key stock_item (sku, place)
) engine = InnoDB default character set utf8mb4;

create table orders (
    id bigint unsigned not null auto_increment primary key,
    sku varchar(40) not null,
    quantity int unsigned not null,
    made_at timestamp not null default current_timestamp,
    key orders_sku (sku)
) engine = InnoDB default character set utf8mb4;

-- What was changed, when, and by whom.
create table stock_history (
    id bigint unsigned not null auto_increment primary key,
    stock_id bigint unsigned not null,
    was int null,
    became int null,
    changed_by varchar(100) not null,
    changed_at timestamp(6) not null default current_timestamp(6)
) engine = InnoDB default character set utf8mb4;

-- What the showroom has on display. When the main stock is gone, the last piece is taken from there and sold.
create table display (
    sku varchar(40) not null primary key,
    units tinyint not null default 0
) engine = InnoDB default character set utf8mb4;

delimiter //
create trigger stock_changed after update on stock for each row
begin
    insert into stock_history (stock_id, was, became, changed_by)
    values (new.id, old.num_in_stock, new.num_in_stock, current_user());
    if new.num_in_stock = 0 and old.num_in_stock > 0 then
        update display set units = 0 where sku = new.sku;
    end if;
end//
delimiter ;
