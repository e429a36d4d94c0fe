%% SPDX-License-Identifier: Apache-2.0
%% @doc Values that every process of the node and every Python worker shares, under any key.
%%
%% Runs in the calling process. Each operation on one key is one step: under any number of writers
%% none is lost, and whatever `add', `cas' or `update' decides by is still true when they write. An
%% operation on several keys is one step for each of them. Text is a UTF-8 binary, Python's bytes
%% are `{bytes, Binary}'; 1 and 1.0 are one key (`hornbeam_state_row').
%%
%% A key may have a time to live; when it is over the key is not there. What is written with a new
%% one gets that, `set' without one makes the key stay, the others leave it as it is.
%%
%% The options `state_max_entries' and `state_max_bytes' bound the table. Nothing is evicted: what
%% does not fit is refused and changes nothing.
-module(hornbeam_state).

-export([get/1, get/2, set/2, set/3, delete/1, incr/1, incr/2, incr/3, decr/1, decr/2]).
-export([add/2, add/3, cas/3, cas/4, update/3, update/4]).
-export([get_multi/1, set_multi/1, set_multi/2, delete_multi/1]).
-export([keys/0, keys/1, scan/2, scan/3, clear/1, info/0]).
-export_type([key/0, options/0]).

-compile({no_auto_import, [get/1]}).

-type key() :: hornbeam_state_row:key().
-type prefix() :: hornbeam_state_row:prefix().
-type options() :: #{
    %% Milliseconds the key lives from now on. Default: it stays.
    ttl_ms => pos_integer()
}.
-type overloaded() :: {error, hornbeam_state_bounds:overloaded()}.

-define(IS_SMALL(N), (N < (1 bsl 59) andalso N > -(1 bsl 59))).

%%% One key

-spec get(key()) -> {ok, term()} | none.
get(Key) ->
    case hornbeam_state_table:lookup(hornbeam_state_row:key(Key)) of
        [{_, Value, 0, _}] ->
            {ok, Value};
        [{_, Value, Expires, _}] ->
            case is_dead(Expires) of
                false -> {ok, Value};
                true -> none
            end;
        [] ->
            none
    end.

-spec get(key(), Default) -> term() | Default.
get(Key, Default) ->
    case get(Key) of
        {ok, Value} -> Value;
        none -> Default
    end.

-spec set(key(), term()) -> ok | overloaded().
set(Key, Value) -> set(Key, Value, #{}).

-spec set(key(), term(), options()) -> ok | overloaded().
set(Key, Value, Options) ->
    write(row(hornbeam_state_row:key(Key), Value, expires(Options))).

write({Key, _, _, _} = Row) ->
    Written =
        case hornbeam_state_table:mark(Key) of
            none -> hornbeam_state_table:insert(Row);
            Mark -> hornbeam_state_table:replace(Key, Mark, Row)
        end,
    case Written of
        true -> ok;
        false -> write(Row);
        Overloaded -> {error, Overloaded}
    end.

%% @doc Whether the key was there.
-spec delete(key()) -> boolean().
delete(Key) ->
    case hornbeam_state_table:take(hornbeam_state_row:key(Key)) of
        [{_, _, Expires, _}] -> not is_dead(Expires);
        [] -> false
    end.

-spec incr(key()) -> {ok, integer()} | {error, not_an_integer} | overloaded().
incr(Key) -> incr(Key, 1).

-spec incr(key(), integer()) -> {ok, integer()} | {error, not_an_integer} | overloaded().
incr(Key, N) -> incr(Key, N, #{}).

%% @doc Add N to an integer; what it is now. A key that is not there counts from 0, and lives as
%% long as the options say; one that is there keeps its time.
-spec incr(key(), integer(), options()) ->
    {ok, integer()} | {error, not_an_integer} | overloaded().
incr(Key0, N, Options) when is_integer(N) ->
    Key = hornbeam_state_row:key(Key0),
    %% Before the step: a row that was alive then is alive in it.
    Now = hornbeam_state_expiry:now(),
    case ?IS_SMALL(N) andalso hornbeam_state_table:add(Key, N) of
        {0, Value} -> {ok, Value};
        {Expires, Value} when Expires > Now -> {ok, Value};
        %% Dead, and what was added with it; or not there; or no integer; or its size changes.
        _ -> incr_row(hornbeam_state_table:lookup(Key), Key, N, Options)
    end;
incr(_, N, _) ->
    error({bad_increment, N, {expected, integer}}).

incr_row([], Key, N, Options) ->
    counted(hornbeam_state_table:insert(row(Key, N, expires(Options))), N, Key, N, Options);
incr_row([{_, Value, Expires, Size}], Key, N, Options) ->
    case is_dead(Expires) of
        true ->
            Row = row(Key, N, expires(Options)),
            Done = hornbeam_state_table:replace(Key, {Expires, Size}, Row),
            counted(Done, N, Key, N, Options);
        false when is_integer(Value) ->
            Sum = Value + N,
            Row = row(Key, Sum, Expires),
            Done = hornbeam_state_table:replace(Key, {Expires, Size}, Value, Row),
            counted(Done, Sum, Key, N, Options);
        false ->
            {error, not_an_integer}
    end.

counted(true, Value, _, _, _) -> {ok, Value};
counted(false, _, Key, N, Options) -> incr(Key, N, Options);
counted(Overloaded, _, _, _, _) -> {error, Overloaded}.

-spec decr(key()) -> {ok, integer()} | {error, not_an_integer} | overloaded().
decr(Key) -> incr(Key, -1).

-spec decr(key(), integer()) -> {ok, integer()} | {error, not_an_integer} | overloaded().
decr(Key, N) -> incr(Key, -N).

%%% One key, if

-spec add(key(), term()) -> boolean() | overloaded().
add(Key, Value) -> add(Key, Value, #{}).

%% @doc Set a key that is not there; whether it was not.
-spec add(key(), term(), options()) -> boolean() | overloaded().
add(Key, Value, Options) ->
    case update_row(hornbeam_state_row:key(Key), none, Value, Options) of
        {true, _} -> true;
        {false, _} -> false;
        {error, _} = Error -> Error
    end.

-spec cas(key(), term(), term()) -> boolean() | overloaded().
cas(Key, Expected, New) -> cas(Key, Expected, New, #{}).

%% @doc Set a key whose value is exactly (`=:=') Expected; whether it was. `undefined' is the value
%% of a key that is not there.
-spec cas(key(), term(), term(), options()) -> boolean() | overloaded().
cas(Key, Expected, New, Options) ->
    case update(Key, Expected, New, Options) of
        {error, _} = Error -> Error;
        {Done, _} -> Done
    end.

-spec update(key(), term(), term()) -> {boolean(), term()} | overloaded().
update(Key, Expected, New) -> update(Key, Expected, New, #{}).

%% @doc As `cas', and the value that the key has now: New, or what there was instead of Expected.
-spec update(key(), term(), term(), options()) -> {boolean(), term()} | overloaded().
update(Key, Expected, New, Options) ->
    update_row(hornbeam_state_row:key(Key), {value, Expected}, New, Options).

update_row(Key, Expected, New, Options) ->
    Found = hornbeam_state_table:lookup(Key),
    case is_as_expected(Found, Expected) of
        {false, _} = Refused -> Refused;
        true -> updated(update_step(Found, Key, New, Options), Key, Expected, New, Options)
    end.

is_as_expected([{_, Value, Expires, _}], Expected) ->
    case is_dead(Expires) of
        true -> is_as_expected([], Expected);
        false when Expected =:= {value, Value} -> true;
        false -> {false, Value}
    end;
is_as_expected([], Expected) when Expected =:= none; Expected =:= {value, undefined} ->
    true;
is_as_expected([], _) ->
    {false, undefined}.

update_step([], Key, New, Options) ->
    hornbeam_state_table:insert(row(Key, New, expires(Options)));
update_step([{_, Value, Expires, Size}], Key, New, Options) ->
    %% A dead row leaves nothing to the new one.
    Kept =
        case is_dead(Expires) of
            true -> 0;
            false -> Expires
        end,
    Row = row(Key, New, expires(Options, Kept)),
    hornbeam_state_table:replace(Key, {Expires, Size}, Value, Row).

updated(true, _, _, New, _) -> {true, New};
updated(false, Key, Expected, New, Options) -> update_row(Key, Expected, New, Options);
updated(Overloaded, _, _, _, _) -> {error, Overloaded}.

%%% Several keys

%% @doc In the order of the keys.
-spec get_multi([key()]) -> [{ok, term()} | none].
get_multi(Keys) -> [get(Key) || Key <- Keys].

-spec set_multi([{key(), term()}]) -> ok | overloaded().
set_multi(Pairs) -> set_multi(Pairs, #{}).

%% @doc One after the other; what precedes a refused one is set.
-spec set_multi([{key(), term()}], options()) -> ok | overloaded().
set_multi([{Key, Value} | Rest], Options) ->
    case set(Key, Value, Options) of
        ok -> set_multi(Rest, Options);
        {error, _} = Error -> Error
    end;
set_multi([], _) ->
    ok.

%% @doc How many of the keys were there.
-spec delete_multi([key()]) -> non_neg_integer().
delete_multi(Keys) -> length([Key || Key <- Keys, delete(Key)]).

%%% All keys, or those that begin with something; see hornbeam_state_walk

-spec keys() -> [key()].
keys() -> keys(undefined).

%% @doc In Erlang's order of terms; costs the matches, not the table.
-spec keys(prefix()) -> [key()].
keys(Prefix) -> hornbeam_state_walk:keys(Prefix).

-spec scan(prefix(), pos_integer()) -> [{key(), term()}].
scan(Prefix, Limit) -> hornbeam_state_walk:scan(Prefix, Limit).

%% @doc At most Limit keys and values, in the order of the keys, of those after the key After.
-spec scan(prefix(), pos_integer(), After :: key()) -> [{key(), term()}].
scan(Prefix, Limit, After) -> hornbeam_state_walk:scan(Prefix, Limit, After).

%% @doc Delete the keys that begin with Prefix; how many there were.
-spec clear(prefix()) -> non_neg_integer().
clear(Prefix) -> hornbeam_state_walk:clear(Prefix).

%% @doc Entries and bytes as the bounds count them: dead ones count until they are removed, at most
%% a second or two.
-spec info() -> #{
    entries := integer(),
    bytes := integer(),
    max_entries := hornbeam_state_bounds:limit(),
    max_bytes := hornbeam_state_bounds:limit()
}.
info() -> hornbeam_state_bounds:info().

%%% Rows

row(Key, Value, Expires) ->
    {Key, Value, Expires, hornbeam_state_row:size(Key, Value)}.

expires(Options) -> expires(Options, 0).

expires(#{ttl_ms := Ttl}, _) ->
    case hornbeam_state_expiry:is_ttl(Ttl) of
        true -> hornbeam_state_expiry:expires(Ttl);
        false -> error({bad_option, ttl_ms, {expected, <<"milliseconds, at least 1">>, got, Ttl}})
    end;
expires(_, Kept) ->
    Kept.

is_dead(0) -> false;
is_dead(Expires) -> hornbeam_state_expiry:is_dead(Expires, hornbeam_state_expiry:now()).
