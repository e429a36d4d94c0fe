%% SPDX-License-Identifier: Apache-2.0
%% @doc The table of the shared state: rows come, change and go, each in one step that is exact
%% under any number of writers, and are counted.
%%
%% Runs in the process that reads or writes; `hornbeam_tables' owns the table. Keys are stored()
%% keys. A row is replaced only by whoever names its time and its size as they are: so what is
%% taken from the counts is what was added to them, and nobody's write is lost.
-module(hornbeam_state_table).

-export([new/1, lookup/1, mark/1, insert/1, replace/3, replace/4, take/1, remove/2, add/2]).
-export([first/1, next/1, expires/1]).
-export_type([mark/0]).

%% What tells a row from the ones before and after it, as far as the counts go.
-type mark() :: {hornbeam_state_row:expires(), Size :: pos_integer()}.

-define(TABLE, hornbeam_state).
-define(VALUE, 2).
-define(EXPIRES, 3).
-define(SIZE, 4).
%% Dead rows that a writer removes itself before it gives up for want of room.
-define(MAKE_ROOM, 100).

%% @doc The tables, owned by the calling process.
-spec new(hornbeam_state_bounds:limits()) -> ok.
new(Limits) ->
    %% Measured against a plain ordered_set: the same for one process, no lock on the whole table
    %% for several. Counts of our own make ETS' decentralised ones superfluous; they cost a write.
    Options = [
        named_table, public, ordered_set, {write_concurrency, true}, {decentralized_counters, false}
    ],
    _ = ets:new(?TABLE, Options),
    _ = ets:new(hornbeam_state_index, Options),
    hornbeam_state_bounds:new(Limits).

-spec lookup(hornbeam_state_row:stored()) -> [hornbeam_state_row:row()].
lookup(Key) -> ets:lookup(?TABLE, Key).

%% @doc Time and size of a row, without a copy of its value.
-spec mark(hornbeam_state_row:stored()) -> mark() | none.
mark(Key) ->
    try ets:update_counter(?TABLE, Key, [{?EXPIRES, 0}, {?SIZE, 0}]) of
        [Expires, Size] -> {Expires, Size}
    catch
        error:badarg -> none
    end.

%% @doc Add N to an integer, in one step; its time, and what it is now.
-spec add(hornbeam_state_row:stored(), integer()) ->
    {hornbeam_state_row:expires(), integer()} | no_integer.
add(Key, N) ->
    try ets:update_counter(?TABLE, Key, [{?EXPIRES, 0}, {?VALUE, N}]) of
        [Expires, Value] -> {Expires, Value}
    catch
        %% No such row, or its value is no integer; nothing has changed.
        error:badarg -> no_integer
    end.

%% @doc A row whose key is not there; `false' when it is.
-spec insert(hornbeam_state_row:row()) -> boolean() | hornbeam_state_bounds:overloaded().
insert({Key, _, Expires, Size} = Row) ->
    case reserve(1, Size) of
        ok ->
            true = hornbeam_state_expiry:index(Expires, Key),
            inserted(ets:insert_new(?TABLE, Row), Row);
        Overloaded ->
            Overloaded
    end.

inserted(true, {Key, _, Expires, _}) ->
    hornbeam_state_expiry:index(Expires, Key);
inserted(false, {Key, _, Expires, Size}) ->
    true = hornbeam_state_expiry:unindex(Expires, Key),
    ok = hornbeam_state_bounds:release(1, Size),
    false.

%% @doc A row in the place of the one with that mark; `false' when there is none.
-spec replace(hornbeam_state_row:stored(), mark(), hornbeam_state_row:row()) ->
    boolean() | hornbeam_state_bounds:overloaded().
replace(Key, {OldExpires, OldSize} = Mark, Row) ->
    replace_if({Key, '_', OldExpires, OldSize}, [], Mark, Row).

%% @doc The same if it has that value, too.
-spec replace(hornbeam_state_row:stored(), mark(), Value :: term(), hornbeam_state_row:row()) ->
    boolean() | hornbeam_state_bounds:overloaded().
replace(Key, {OldExpires, OldSize} = Mark, Value, Row) ->
    Guard = [{'=:=', '$1', {const, Value}}],
    replace_if({Key, '$1', OldExpires, OldSize}, Guard, Mark, Row).

replace_if(Head, Guard, {OldExpires, OldSize}, {Key, _, Expires, Size} = Row) ->
    case reserve(0, Size - OldSize) of
        ok when Expires =:= OldExpires ->
            replaced(ets:select_replace(?TABLE, [{Head, Guard, [{const, Row}]}]), Size - OldSize);
        ok ->
            true = hornbeam_state_expiry:index(Expires, Key),
            Count = ets:select_replace(?TABLE, [{Head, Guard, [{const, Row}]}]),
            {Lives, Died} = case Count of 1 -> {Expires, OldExpires}; 0 -> {0, Expires} end,
            true = hornbeam_state_expiry:index(Lives, Key),
            true = hornbeam_state_expiry:unindex(Died, Key),
            replaced(Count, Size - OldSize);
        Overloaded ->
            Overloaded
    end.

replaced(1, _) ->
    true;
replaced(0, Reserved) ->
    ok = hornbeam_state_bounds:release(0, Reserved),
    false.

%% Dead rows do not count against a writer: room is made before it is refused.
reserve(0, 0) ->
    ok;
reserve(Rows, Bytes) ->
    case hornbeam_state_bounds:reserve(Rows, Bytes) of
        ok ->
            ok;
        Overloaded ->
            case hornbeam_state_expiry:sweep(?MAKE_ROOM) of
                0 -> Overloaded;
                _ -> reserve(Rows, Bytes)
            end
    end.

%% @doc Remove a row; the row.
-spec take(hornbeam_state_row:stored()) -> [hornbeam_state_row:row()].
take(Key) ->
    case ets:take(?TABLE, Key) of
        [{_, _, Expires, Size}] = Taken ->
            ok = hornbeam_state_bounds:release(1, Size),
            true = hornbeam_state_expiry:unindex(Expires, Key),
            Taken;
        [] ->
            []
    end.

%% @doc Remove the row of a key if it has that time; its entry in the index is the caller's.
-spec remove(hornbeam_state_row:stored(), hornbeam_state_row:expires()) -> ok.
remove(Key, Expires) ->
    case mark(Key) of
        {Expires, Size} ->
            case ets:select_delete(?TABLE, [{{Key, '_', Expires, Size}, [], [true]}]) of
                1 -> hornbeam_state_bounds:release(1, Size);
                %% Gone, or changed by a writer that saw it alive: look again.
                0 -> remove(Key, Expires)
            end;
        _ ->
            ok
    end.

%% @doc The first key that may have the prefix.
-spec first(hornbeam_state_row:prefix()) -> hornbeam_state_row:stored() | '$end_of_table'.
first(undefined) ->
    ets:first(?TABLE);
first(Prefix) ->
    case ets:member(?TABLE, Prefix) of
        true -> Prefix;
        false -> ets:next(?TABLE, Prefix)
    end.

-spec next(hornbeam_state_row:stored()) -> hornbeam_state_row:stored() | '$end_of_table'.
next(Key) -> ets:next(?TABLE, Key).

-spec expires(hornbeam_state_row:stored()) -> hornbeam_state_row:expires() | none.
expires(Key) ->
    try
        ets:lookup_element(?TABLE, Key, ?EXPIRES)
    catch
        error:badarg -> none
    end.
