
create user banyan@'%';
grant all on *.* to banyan@'%';

-- What the run writes down beside what it does, in the same transaction: the truth that both sides are held to.
create table soak_order (id bigint primary key, sku varchar(40) not null, quantity integer not null, state varchar(12) not null,
    led varchar(12) not null, reservation varchar(40), key soak_order_state (state, id)) engine = InnoDB default character set utf8mb4;
create table soak_move (id bigint not null auto_increment primary key, sku varchar(40) not null, kind varchar(12) not null,
    value integer not null) engine = InnoDB default character set utf8mb4;
create table soak_told (id bigint not null auto_increment primary key, kind varchar(12) not null) engine = InnoDB;
create table soak_foreign (id bigint not null auto_increment primary key, sku varchar(40) not null, place varchar(20) not null,
    position decimal(20) not null) engine = InnoDB default character set utf8mb4;

-- The shop's own history says whose trigger it was; this says whose session.
create table soak_audit (id bigint not null auto_increment primary key, changed_by varchar(100) not null) engine = InnoDB;
create trigger soak_stock_changed after update on stock for each row follows stock_changed
    insert into soak_audit (changed_by) values (user());
