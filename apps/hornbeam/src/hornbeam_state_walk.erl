%% SPDX-License-Identifier: Apache-2.0
%% @doc Goes through the keys of the shared state that begin with something, in their order.
%%
%% Runs in the process that asks; may take long, so workers have it run in a process of its own.
%% Every step is a look-up in the ordered table: the first of them finds the first key, no key
%% without the prefix is visited but the one after the last. What others write meanwhile is seen or
%% not; a key that is there from beginning to end is seen once.
-module(hornbeam_state_walk).

-export([keys/1, scan/2, scan/3, clear/1]).

-type prefix() :: hornbeam_state_row:prefix().
-type key() :: hornbeam_state_row:key().

-spec keys(prefix()) -> [key()].
keys(Prefix) ->
    Now = hornbeam_state_expiry:now(),
    Keys = walk(hornbeam_state_table:first(Prefix), Prefix, infinity, [], fun(Key) ->
        case hornbeam_state_table:expires(Key) of
            none -> skip;
            Expires -> alive(Expires, Now, hornbeam_state_row:original(Key))
        end
    end),
    lists:reverse(Keys).

-spec scan(prefix(), pos_integer()) -> [{key(), term()}].
scan(Prefix, Limit) ->
    scan_from(hornbeam_state_table:first(Prefix), Prefix, Limit).

-spec scan(prefix(), pos_integer(), After :: key()) -> [{key(), term()}].
scan(Prefix, Limit, After) ->
    Key = hornbeam_state_row:key(After),
    case Prefix =:= undefined orelse Key >= Prefix of
        true -> scan_from(hornbeam_state_table:next(Key), Prefix, Limit);
        false -> scan(Prefix, Limit)
    end.

scan_from(First, Prefix, Limit) ->
    Now = hornbeam_state_expiry:now(),
    Pairs = walk(First, Prefix, Limit, [], fun(Key) ->
        case hornbeam_state_table:lookup(Key) of
            [{_, Value, Expires, _}] ->
                alive(Expires, Now, {hornbeam_state_row:original(Key), Value});
            [] ->
                skip
        end
    end),
    lists:reverse(Pairs).

-spec clear(prefix()) -> non_neg_integer().
clear(Prefix) ->
    Now = hornbeam_state_expiry:now(),
    length(walk(hornbeam_state_table:first(Prefix), Prefix, infinity, [], fun(Key) ->
        case hornbeam_state_table:take(Key) of
            [{_, _, Expires, _}] -> alive(Expires, Now, Expires);
            [] -> skip
        end
    end)).

%% What the walker found, newest first.
walk('$end_of_table', _, _, Found, _) ->
    Found;
walk(_, _, 0, Found, _) ->
    Found;
walk(Key, Prefix, Left, Found, Visit) ->
    case hornbeam_state_row:has_prefix(Key, Prefix) of
        true ->
            {Left1, Found1} = visited(Visit(Key), Left, Found),
            walk(hornbeam_state_table:next(Key), Prefix, Left1, Found1, Visit);
        false ->
            Found
    end.

visited(skip, Left, Found) -> {Left, Found};
visited({found, What}, infinity, Found) -> {infinity, [What | Found]};
visited({found, What}, Left, Found) -> {Left - 1, [What | Found]}.

alive(Expires, Now, What) ->
    case hornbeam_state_expiry:is_dead(Expires, Now) of
        true -> skip;
        false -> {found, What}
    end.
