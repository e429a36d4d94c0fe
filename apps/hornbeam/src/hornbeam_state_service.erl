%% SPDX-License-Identifier: Apache-2.0
%% @doc The shared state as services of the node: the terms they take and what they answer.
%%
%% Runs where `hornbeam_services' says: operations on keys that are named are inline.
%%
%%   service             arguments                  result
%%   state.get           Key                        [Value], or [] when it is not there
%%   state.set           Key, Value                 undefined
%%   state.delete        Key                        whether it was there
%%   state.incr          Key, N :: integer()        what it is now
%%   state.add           Key, Value                 whether it was not there
%%   state.cas           Key, Expected, New         whether it had that value
%%   state.update        Key, Expected, New         {Done :: boolean(), Value that it has now}
%%   state.get_multi     [Key]                      [[Value] | []], in the order of the keys
%%   state.set_multi     [{Key, Value}]             undefined
%%   state.delete_multi  [Key]                      how many were there
%%   state.pipeline      [{Name, Arguments, Keywords}]  [[Result] | {Fault, Details}], see below
%%   state.keys          Prefix                     [Key]
%%   state.scan          Prefix, Limit              [{Key, Value}]; the keyword `after' is a key
%%   state.clear         Prefix                     how many were there
%%   state.info          -                          a map; a bound that is none is undefined
%%
%% set, incr, add, cas, update and set_multi take the keyword `ttl_ms', milliseconds. A prefix is a
%% binary, `{bytes, Binary}', or `undefined' for every key. A pipeline holds any of those above it
%% in the table, by their names without `state.'; one that fails does not stop the others. A fault
%% of theirs is as in PROTOCOL.md, section 4.3.
-module(hornbeam_state_service).
-behaviour(hornbeam_service).

-export([handle/3]).

-define(IS_PREFIX(P),
    is_binary(P) orelse P =:= undefined orelse
        (element(1, P) =:= bytes andalso is_binary(element(2, P)))
).

-spec handle(hornbeam_service:arguments(), hornbeam_service:keywords(), Context) ->
    {ok, term()} | {bad_term, binary()} | hornbeam_state_bounds:overloaded()
when
    Context :: hornbeam_service:context().
handle(Arguments, Keywords, #{service := <<"state.", Name/binary>>}) ->
    run(Name, Arguments, Keywords).

run(<<"pipeline">>, [Operations], _) when is_list(Operations) ->
    {ok, [pipelined(Operation) || Operation <- Operations]};
run(<<"keys">>, [Prefix], _) when ?IS_PREFIX(Prefix) ->
    {ok, hornbeam_state:keys(Prefix)};
run(<<"scan">>, [Prefix, Limit], Keywords) when ?IS_PREFIX(Prefix), is_integer(Limit), Limit > 0 ->
    case Keywords of
        #{<<"after">> := After} -> {ok, hornbeam_state:scan(Prefix, Limit, After)};
        _ -> {ok, hornbeam_state:scan(Prefix, Limit)}
    end;
run(<<"clear">>, [Prefix], _) when ?IS_PREFIX(Prefix) ->
    {ok, hornbeam_state:clear(Prefix)};
run(<<"info">>, [], _) ->
    Info = maps:to_list(hornbeam_state:info()),
    {ok, maps:from_list([{atom_to_binary(Key), figure(Value)} || {Key, Value} <- Info])};
run(Name, Arguments, Keywords) ->
    named(Name, Arguments, Keywords).

%% Operations on keys that are named.
named(<<"get">>, [Key], _) ->
    {ok, found(hornbeam_state:get(Key))};
named(<<"incr">>, [Key, N], Keywords) when is_integer(N) ->
    with_ttl(Keywords, fun(Options) -> result(hornbeam_state:incr(Key, N, Options)) end);
named(<<"set">>, [Key, Value], Keywords) ->
    with_ttl(Keywords, fun(Options) -> result(hornbeam_state:set(Key, Value, Options)) end);
named(<<"delete">>, [Key], _) ->
    {ok, hornbeam_state:delete(Key)};
named(<<"add">>, [Key, Value], Keywords) ->
    with_ttl(Keywords, fun(Options) -> result(hornbeam_state:add(Key, Value, Options)) end);
named(<<"cas">>, [Key, Expected, New], Keywords) ->
    with_ttl(Keywords, fun(Options) ->
        result(hornbeam_state:cas(Key, Expected, New, Options))
    end);
named(<<"update">>, [Key, Expected, New], Keywords) ->
    with_ttl(Keywords, fun(Options) ->
        result(hornbeam_state:update(Key, Expected, New, Options))
    end);
named(<<"get_multi">>, [Keys], _) when is_list(Keys) ->
    {ok, [found(hornbeam_state:get(Key)) || Key <- Keys]};
named(<<"set_multi">>, [Pairs], Keywords) when is_list(Pairs) ->
    with_ttl(Keywords, fun(Options) -> result(hornbeam_state:set_multi(Pairs, Options)) end);
named(<<"delete_multi">>, [Keys], _) when is_list(Keys) ->
    {ok, hornbeam_state:delete_multi(Keys)};
named(Name, _, _) ->
    {bad_term, <<"state.", Name/binary, " does not take such arguments">>}.

%% A bound that is none.
figure(infinity) -> undefined;
figure(Number) -> Number.

found({ok, Value}) -> [Value];
found(none) -> [].

result(ok) -> {ok, undefined};
result({ok, _} = Ok) -> Ok;
result({error, not_an_integer}) -> {bad_term, <<"the value is no integer; nothing was changed">>};
result({error, {overloaded, _, _} = Overloaded}) -> Overloaded;
result(Value) -> {ok, Value}.

with_ttl(Keywords, Run) ->
    case Keywords of
        #{<<"ttl_ms">> := Ttl} ->
            case hornbeam_state_expiry:is_ttl(Ttl) of
                true -> Run(#{ttl_ms => Ttl});
                false -> {bad_term, <<"ttl_ms is a positive number of milliseconds, an integer">>}
            end;
        _ ->
            Run(#{})
    end.

pipelined({Name, Arguments, Keywords}) when
    is_binary(Name), is_list(Arguments), is_map(Keywords)
->
    case named(Name, Arguments, Keywords) of
        {ok, Value} -> [Value];
        Failed -> hornbeam_service:fault(Failed)
    end;
pipelined(_) ->
    hornbeam_service:fault({bad_term, <<"expected {Name, Arguments, Keywords}">>}).
